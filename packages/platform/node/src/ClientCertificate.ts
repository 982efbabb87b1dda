/**
 * The certificate with which a client proves who it is (RFC 8705): in files that rotate, or wherever it is kept.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { createPrivateKey, X509Certificate } from "node:crypto"
import * as Tls from "node:tls"
import * as UndiciClient from "./internal/undiciClient.ts"

/**
 * A certificate with its chain, and the private key of it, each in PEM. What is an effect is read before each request, so
 * that a certificate that was renewed is taken up; what it fails with is shown by its message, which holds no secret.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientCertificate {
  readonly certificate: Redacted.Redacted | Effect.Effect<Redacted.Redacted, Error>
  readonly key: Redacted.Redacted | Effect.Effect<Redacted.Redacted, Error>
}

/**
 * `NodeAuth.layerHttpClient` with a certificate: for the method `tls_client_auth` of a client, and for APIs whose tokens
 * are bound to it. A certificate that cannot be read fails the request, with what to put right; nothing is sent.
 *
 * It works on Node and Deno.
 *
 * **Example** (A client with a certificate in files)
 *
 * ```ts
 * import { OidcIam } from "@effect-authn/iam-oidc"
 * import { ClientCertificate, NodeAuth, SecretFile } from "@effect-authn/platform-node"
 * import { Layer } from "effect"
 *
 * const iam = OidcIam.layer({
 *   issuer: "https://idp.example.com",
 *   clientId: "my-service",
 *   clientAuthentication: { method: "tls_client_auth" }
 * })
 *
 * export const layer = Layer.provideMerge(
 *   NodeAuth.layerNoDeps(iam),
 *   ClientCertificate.layerHttpClient({
 *     certificate: SecretFile.read("/run/certs/tls.crt"),
 *     key: SecretFile.read("/run/certs/tls.key")
 *   })
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHttpClient = (options: ClientCertificate): Layer.Layer<HttpClient.HttpClient> =>
  Layer.unwrap(Effect.map(Effect.scope, (scope) => HttpClient.layerMergedContext(make(options, scope))))

const make = Effect.fnUntraced(function*(options: ClientCertificate, scope: Scope.Scope) {
  const one = yield* Semaphore.make(1)
  let made:
    | { readonly text: string; readonly client: HttpClient.HttpClient; readonly scope: Scope.Closeable }
    | undefined

  const current = (request: HttpClientRequest.HttpClientRequest) =>
    one.withPermit(Effect.gen(function*() {
      const cert = Redacted.value(yield* read(options.certificate))
      const key = Redacted.value(yield* read(options.key))
      const text = `${cert}\n${key}`
      if (made?.text === text) return made.client
      const why = objection(cert, key)
      if (why !== undefined) return yield* new Unusable({ message: why })
      yield* Effect.try({
        try: () => Tls.createSecureContext({ cert, key }),
        catch: () => new Unusable({ message: "its chain is no PEM" })
      })
      const next = yield* Scope.fork(scope)
      const client = yield* Scope.provide(UndiciClient.make({ cert, key }), next)
      // What is under way with the earlier certificate ends first.
      if (made !== undefined) yield* Effect.forkIn(Effect.delay(Scope.close(made.scope, Exit.void), "1 minute"), scope)
      made = { text, client, scope: next }
      return client
    })).pipe(Effect.mapError((cause) => unusable(request, cause)))

  return HttpClient.make((request) => Effect.flatMap(current(request), (client) => client.execute(request)))
})

/** Why a certificate and a key are of no use together. TLS shows none, without a word, where their kinds differ. */
const objection = (cert: string, key: string): string | undefined => {
  const leaf = Result.try(() => new X509Certificate(cert))
  if (Result.isFailure(leaf)) return "it is no certificate in PEM (-----BEGIN CERTIFICATE-----)"
  if (/^(-----BEGIN ENCRYPTED PRIVATE KEY|Proc-Type:.*ENCRYPTED)/m.test(key)) {
    return "its key is encrypted with a passphrase: decrypt it, with openssl pkcs8 -topk8 -nocrypt -in key.pem -out key.pkcs8.pem"
  }
  const own = Result.try(() => createPrivateKey(key))
  if (Result.isFailure(own)) return "its key is no private key in PEM (-----BEGIN PRIVATE KEY-----)"
  return leaf.success.checkPrivateKey(own.success)
    ? undefined
    : "it and its key are not of each other: was one of them renewed alone?"
}

/** The certificate and its key do not belong together, or are none. */
class Unusable extends Data.TaggedError("Unusable")<{ readonly message: string }> {}

const read = (given: ClientCertificate["key"]) => Effect.isEffect(given) ? given : Effect.succeed(given)

const unusable = (request: HttpClientRequest.HttpClientRequest, cause: Error) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      cause: Object.assign(new Error(`the client's certificate cannot be used: ${cause.message}`), {
        code: "ERR_CLIENT_CERTIFICATE"
      })
    })
  })
