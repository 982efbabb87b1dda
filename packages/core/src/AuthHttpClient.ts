/**
 * An `HttpClient` that carries the session.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { type AuthError, StepUpRequired } from "./AuthError.ts"
import { AuthManager } from "./AuthManager.ts"
import * as Challenge from "./Challenge.ts"
import { IamError, Misconfigured } from "./iam/IamError.ts"
import * as Redaction from "./iam/Redaction.ts"
import * as SecureUrl from "./SecureUrl.ts"
import type { Bearer } from "./session/Session.ts"
import type { SessionKey } from "./session/SessionKey.ts"

/**
 * What a client is made with:
 *
 * - `baseUrl`: the address of the API, http or https. A relative URL continues it, query and fragment apart.
 * - `origins`: where the token may go; the origin of `baseUrl` unless told. Each is an address whose origin counts: https,
 *   or http to this machine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly baseUrl: string | URL
  readonly origins?: ReadonlyArray<string>
}

/**
 * A client whose requests carry the session. A request can fail as any request, or as `AuthManager.token` does.
 *
 * @category models
 * @since 0.1.0
 */
export type AuthHttpClient = HttpClient.HttpClient.With<HttpClientError.HttpClientError | AuthError>

/**
 * Makes a client for the API at `baseUrl`, which carries the session of the `AuthManager` in the context.
 *
 * **When to use**
 *
 * Use when the program has one session. With several, name the manager of each client: `makeWith`.
 *
 * **Details**
 *
 * Every attempt of every request gets the token that is valid then, renewed if it must be. After a 401 the session is
 * renewed, unless somebody renewed it meanwhile, and the request is sent once more. If that cannot be done, or the body
 * was a stream, the 401 is the answer. An API that wants another login of the person (RFC 9470) is `StepUpRequired`.
 *
 * Fails with `IamError` (`Misconfigured`) if an address is not a URL of http or https, and if the token would go over
 * plain http to another machine.
 *
 * **Gotchas**
 *
 * The token goes to `origins` only, by default that of `baseUrl`: other requests, and redirects that lead elsewhere, are
 * sent without it, and so is what such a place redirects back. A redirect that would hand a body to an origin outside
 * the list is not followed, but is the answer. In a browser, where a redirect cannot be seen, the request fails with
 * `HttpClientError` (`StatusCodeError`).
 *
 * **Example** (Calling an API)
 *
 * ```ts
 * import { AuthHttpClient, AuthManager } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * export const notes = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   yield* auth.login()
 *   const api = yield* AuthHttpClient.make({ baseUrl: "https://api.example.com" })
 *   const answer = yield* api.get("/notes", { urlParams: { page: 2 } })
 *   return yield* answer.json
 * })
 * ```
 *
 * **Example** (A typed client of an HttpApi)
 *
 * ```ts
 * import { AuthHttpClient } from "@effect-authn/core"
 * import { Effect, Schema } from "effect"
 * import { HttpApi, HttpApiClient, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
 *
 * const list = HttpApiEndpoint.get("list", "/notes", { success: Schema.Array(Schema.String) })
 * const Api = HttpApi.make("notes").add(HttpApiGroup.make("notes").add(list))
 *
 * export const notes = Effect.gen(function*() {
 *   const baseUrl = "https://api.example.com"
 *   const httpClient = yield* AuthHttpClient.make({ baseUrl })
 *   const client = yield* HttpApiClient.makeWith(Api, { httpClient, baseUrl })
 *   return yield* client.notes.list()
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<AuthHttpClient, IamError, AuthManager | HttpClient.HttpClient> =>
  Effect.flatMap(AuthManager, (manager) => makeWith({ ...options, manager }))

/**
 * Makes a client as `make` does, which carries the session of the given `manager`, whatever the context holds.
 *
 * **When to use**
 *
 * Use when a program is signed in to more than one IAM, or with more than one account: a client can carry no token but
 * its manager's.
 *
 * **Example** (Two IAMs in one program)
 *
 * ```ts
 * import { AuthHttpClient, AuthManager } from "@effect-authn/core"
 * import { DatalayerIam } from "@effect-authn/iam-datalayer"
 * import { OidcIam } from "@effect-authn/iam-oidc"
 * import { NodeAuth } from "@effect-authn/platform-node"
 * import { Context, Effect, Layer } from "effect"
 * import { HttpBody } from "effect/http"
 *
 * class Home extends Context.Service<Home, AuthManager.AuthManager["Service"]>()("my-app/Home") {
 *   static readonly layer = Layer.effect(this, AuthManager.AuthManager).pipe(
 *     Layer.provide(NodeAuth.layer(OidcIam.layer({ issuer: "https://idp.example.com", clientId: "my-app" })))
 *   )
 * }
 *
 * class Work extends Context.Service<Work, AuthManager.AuthManager["Service"]>()("my-app/Work") {
 *   static readonly layer = Layer.effect(this, AuthManager.AuthManager).pipe(
 *     Layer.provide(NodeAuth.layer(DatalayerIam.layer({ issuer: "https://iam.example.org" })))
 *   )
 * }
 *
 * const copied = Effect.gen(function*() {
 *   const home = yield* AuthHttpClient.makeWith({ manager: yield* Home, baseUrl: "https://api.example.com" })
 *   const work = yield* AuthHttpClient.makeWith({ manager: yield* Work, baseUrl: "https://api.example.org" })
 *   const notes = yield* Effect.flatMap(home.get("/notes"), (answer) => answer.text)
 *   return yield* work.post("/notes", { body: HttpBody.text(notes) })
 * })
 *
 * export const program = Effect.provide(copied, [Home.layer, Work.layer, NodeAuth.layerHttpClient])
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeWith = Effect.fnUntraced(function*(
  options: Options & { readonly manager: AuthManager["Service"] }
): Effect.fn.Return<AuthHttpClient, IamError, HttpClient.HttpClient> {
  const { manager } = options
  const client = yield* HttpClient.HttpClient
  const baseUrl = String(options.baseUrl)
  const origins = options.origins ?? [baseUrl]
  for (const address of [baseUrl, ...origins]) {
    // `localhost:3000` is a URL, too, of a scheme `localhost`.
    if (!/^https?:$/.test(URL.parse(address)?.protocol ?? "")) {
      return yield* new IamError({
        issuer: manager.key.issuer,
        method: "AuthHttpClient.make",
        reason: new Misconfigured({
          detail: `"${address}" is not the address of an API: write it whole, with https://`
        })
      })
    }
  }
  for (const address of origins) {
    if (!SecureUrl.mayCarrySecrets(address)) {
      return yield* new IamError({
        issuer: manager.key.issuer,
        method: "AuthHttpClient.make",
        reason: new Misconfigured({
          detail: `plain http would show the token to everyone on the way to ${new URL(address).hostname}: write its ` +
            "address with https://"
        })
      })
    }
  }
  const allowed = new Set(origins.map((address) => new URL(address).origin))

  const send = (request: HttpClientRequest.HttpClientRequest) =>
    // Redirects are followed here, hop by hop, so that each is measured against the list.
    Redaction.withoutHeaders(SecureUrl.withoutRedirects(client.postprocess(Effect.succeed(request))))

  const sendWith = (request: HttpClientRequest.HttpClientRequest, bearer: Bearer) =>
    Effect.flatMap(manager.present(bearer, request), send)

  /** Shows a token, and once more where the API wants to see it in another way. */
  const shown = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest, bearer: Bearer) {
    const response = yield* sendWith(request, bearer)
    const challenge = yield* manager.challenged(bearer, response)
    if (challenge !== "retry" || !canReplay(request)) return { challenge, response }
    const again = yield* sendWith(request, bearer)
    return { challenge: yield* manager.challenged(bearer, again), response: again }
  })

  // A chain of redirects that was outside once stays without the token: whoever is outside could choose what it calls.
  const attempt = Effect.fnUntraced(function*(
    asked: HttpClientRequest.HttpClientRequest,
    chain: Chain
  ): Effect.fn.Return<
    HttpClientResponse.HttpClientResponse,
    HttpClientError.HttpClientError | AuthError
  > {
    const url = HttpClientRequest.toUrl(asked)
    const isOutside = Option.isNone(url) || !allowed.has(url.value.origin)
    const request = isOutside && chain.hops > 0 ? yield* withoutSecretHeaders(asked) : asked
    chain.hops++
    chain.wasOutside ||= isOutside
    if (chain.wasOutside) return yield* send(request)
    const bearer = yield* manager.bearerToken
    const { challenge, response } = yield* shown(request, bearer)
    yield* askedToStepUp(response, manager.key)
    if (challenge !== "rejected") return response
    const replacement = yield* Effect.result(manager.rejected(bearer))
    if (Result.isFailure(replacement) || !canReplay(request)) return response
    const renewed = yield* shown(request, replacement.success)
    yield* askedToStepUp(renewed.response, manager.key)
    return renewed.response
  })

  const hop = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest, chain: Chain) {
    const response = yield* attempt(request, chain)
    if (response.status === 0) return yield* hidden(response)
    return handsBodyOn(response, request, allowed) ? yield* new TakesBodyAway({ response }) : response
  })

  return HttpClient.makeWith(
    (request: Effect.Effect<HttpClientRequest.HttpClientRequest, HttpClientError.HttpClientError | AuthError>) =>
      Effect.suspend(() => {
        const chain: Chain = { hops: 0, wasOutside: false }
        const followed = HttpClient.followRedirects(
          HttpClient.makeWith(
            Effect.flatMap((request: HttpClientRequest.HttpClientRequest) => hop(request, chain)),
            client.preprocess
          )
        )
        // Only after whatever is put before a request may have prepended an address: a typed client does.
        const whole = Effect.map(
          request,
          (request) => URL.canParse(request.url) ? request : HttpClientRequest.prependUrl(request, baseUrl)
        )
        return Effect.catchTag(
          followed.postprocess(whole),
          "TakesBodyAway",
          ({ response }) => Effect.succeed(response)
        )
      }),
    client.preprocess
  )
})

// A renewal makes no login stronger: only the person can (RFC 9470).
const askedToStepUp = ({ headers, status }: HttpClientResponse.HttpClientResponse, key: SessionKey) => {
  if (status !== 401) return Effect.void
  const asked = Challenge.parse(headers["www-authenticate"] ?? "").find(({ parameters, scheme }) =>
    /^(bearer|dpop)$/.test(scheme) && parameters.get("error") === "insufficient_user_authentication"
  )
  if (asked === undefined) return Effect.void
  const acrValues = (asked.parameters.get("acr_values") ?? "").split(" ").filter((word) => word !== "")
  const maxAge = asked.parameters.get("max_age") ?? ""
  return Effect.fail(
    new StepUpRequired({
      key,
      acrValues,
      ...(/^\d{1,9}$/.test(maxAge) ? { maxAge: Duration.seconds(Number(maxAge)) } : {})
    })
  )
}

interface Chain {
  hops: number
  wasOutside: boolean
}

/** The redirect is the answer, since following it would hand the body to somebody else. */
class TakesBodyAway extends Data.TaggedError("TakesBodyAway")<{
  readonly response: HttpClientResponse.HttpClientResponse
}> {}

const handsBodyOn = (
  { headers, request: { url }, status }: HttpClientResponse.HttpClientResponse,
  { body, method }: HttpClientRequest.HttpClientRequest,
  allowed: ReadonlySet<string>
): boolean => {
  if (status < 300 || status >= 400 || headers["location"] === undefined || body._tag === "Empty") return false
  // These make a GET without a body of the request.
  if (status === 303 || ((status === 301 || status === 302) && method === "POST")) return false
  const target = URL.parse(headers["location"], url)
  return target !== null && !allowed.has(target.origin) && target.origin !== URL.parse(url)?.origin
}

const withoutSecretHeaders = (request: HttpClientRequest.HttpClientRequest) =>
  Effect.map(Headers.CurrentRedactedNames, (names) =>
    Object.entries(Headers.redact(request.headers, names)).reduce(
      (request, [name, value]) => Redacted.isRedacted(value) ? HttpClientRequest.removeHeader(request, name) : request,
      request
    ))

// A browser shows a program neither the status of a redirect nor where it leads.
const hidden = (response: HttpClientResponse.HttpClientResponse) =>
  Effect.fail(
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.StatusCodeError({
        request: response.request,
        response,
        description: "the API answers with a redirect, which a browser does not let a program follow by hand: call " +
          "the address to which it leads, and name its origin in `origins` if the token may go there"
      })
    })
  )

/** A stream is gone once it was sent; of a `Raw` body nobody knows. */
const canReplay = (request: HttpClientRequest.HttpClientRequest): boolean =>
  request.body._tag !== "Stream" && request.body._tag !== "Raw"
