/** Clients that authenticate by a certificate, and tokens that are bound to it (RFC 8705), at a certified provider over TLS. */
import {
  AuthHttpClient,
  AuthManager,
  type AuthStrategy,
  BrowserLogin,
  IamClient,
  Selection,
  Session,
  SessionKeeper,
  TokenStorage
} from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { ClientCertificate, NodeAuth } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { createPublicKey, X509Certificate } from "node:crypto"
import type { IncomingMessage, RequestListener } from "node:http"
import { createServer } from "node:https"
import * as Tls from "node:tls"
import { Provider } from "oidc-provider"
import { alone, authority, client, neighbour, server } from "./certificates.ts"
import { answers, tokenOf, visit } from "./fixtures.ts"

// As NODE_EXTRA_CA_CERTS would have it.
Tls.setDefaultCACertificates([...Tls.getCACertificates("default"), authority])

const listen = (asks: boolean) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<{
        readonly origin: string
        readonly answer: (by: RequestListener) => void
        readonly stop: () => void
      }>((resolve) => {
        const running = createServer({ ...server, requestCert: asks, ca: [authority], rejectUnauthorized: false })
        running.listen(0, "127.0.0.1", () => {
          const address = running.address()
          resolve({
            origin: `https://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
            answer: (by) => running.on("request", by),
            stop: () => {
              running.close()
              running.closeAllConnections()
            }
          })
        })
      })
    ),
    ({ stop }) => Effect.sync(stop)
  )

const shown = ({ socket }: IncomingMessage): X509Certificate | undefined => {
  const raw = socket instanceof Tls.TLSSocket ? socket.getPeerCertificate().raw : undefined
  return raw === undefined ? undefined : new X509Certificate(raw)
}

/** A provider whose endpoints for those who have a certificate are at another port, which alone asks for one. */
const provider = Effect.gen(function*() {
  const open = yield* listen(false)
  const mutual = yield* listen(true)
  const common = {
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code" as const],
    redirect_uris: ["http://127.0.0.1/callback"],
    application_type: "native" as const,
    id_token_signed_response_alg: "RS256" as const,
    tls_client_certificate_bound_access_tokens: true
  }
  const jwk = { kty: "EC", ...createPublicKey(alone.cert).export({ format: "jwk" }) }
  const idp = new Provider(open.origin, {
    clients: [
      {
        ...common,
        client_id: "authority",
        token_endpoint_auth_method: "tls_client_auth",
        tls_client_auth_subject_dn: "CN=client"
      },
      {
        ...common,
        client_id: "alone",
        token_endpoint_auth_method: "self_signed_tls_client_auth",
        jwks: { keys: [{ ...jwk, x5c: [new X509Certificate(alone.cert).raw.toString("base64")] }] }
      }
    ],
    discovery: {
      mtls_endpoint_aliases: {
        token_endpoint: `${mutual.origin}/token`,
        userinfo_endpoint: `${mutual.origin}/me`,
        revocation_endpoint: `${mutual.origin}/token/revocation`
      }
    },
    clientAuthMethods: ["tls_client_auth", "self_signed_tls_client_auth"],
    scopes: ["openid", "offline_access"],
    findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    pkce: { required: () => true },
    rotateRefreshToken: () => true,
    features: {
      devInteractions: { enabled: true },
      revocation: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        tlsClientAuth: true,
        selfSignedTlsClientAuth: true,
        getCertificate: ({ req }) => shown(req),
        certificateAuthorized: ({ req }) => req.socket instanceof Tls.TLSSocket && req.socket.authorized,
        certificateSubjectMatches: ({ req }, _property, expected) => shown(req)?.subject === expected
      }
    }
  })
  for (const { answer } of [open, mutual]) answer(idp.callback())
  return { issuer: open.origin, mutual: mutual.origin }
})

const holding = ({ cert, key }: typeof client) =>
  ClientCertificate.layerHttpClient({ certificate: Redacted.make(cert), key: Redacted.make(key) })

const iam = (issuer: string, clientId: string) =>
  OidcIam.layer({ issuer, clientId, clientAuthentication: { method: "tls_client_auth" } })

const program = (issuer: string, clientId: string, http: Layer.Layer<HttpClient.HttpClient>) =>
  Layer.fresh(AuthManager.layer()).pipe(
    Layer.provideMerge(Layer.fresh(SessionKeeper.layer)),
    Layer.provideMerge(iam(issuer, clientId)),
    Layer.provideMerge(TokenStorage.layerMemory),
    Layer.provideMerge(http)
  )

const byBrowser: AuthStrategy.AuthStrategy<BrowserLogin.BrowserLogin> = {
  name: "browser",
  obtain: Effect.fnUntraced(function*(context) {
    const browser = yield* BrowserLogin.BrowserLogin
    const { pending, url } = yield* browser.begin({ redirectUri: "http://127.0.0.1:4000/callback" })
    const page = yield* Effect.orDie(visit(url, { answers, stopAt: (url) => url.pathname === "/callback" }))
    const issued = yield* browser.complete(pending, page.url)
    return Session.fromResponse(context.key, issued, { strategy: "browser", selection: context.selection })
  })
}

const asks = (origin: string, token: string) =>
  Effect.map(
    HttpClient.execute(HttpClientRequest.bearerToken(HttpClientRequest.get(`${origin}/me`), token)),
    ({ status }) => status
  )

const cases = {
  "of an authority": { clientId: "authority", own: client, other: neighbour },
  "that is signed by itself": { clientId: "alone", own: alone, other: client }
}

describe("a client with a certificate", () => {
  for (const [name, { clientId, own, other }] of Object.entries(cases)) {
    it.live(`${name} signs a person in, renews, and calls an API; neither tokens nor client are of use without it`, () =>
      Effect.gen(function*() {
        const { issuer, mutual } = yield* provider
        const session = yield* Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          const session = yield* auth.login(byBrowser)
          assert.strictEqual(session.madeAt?.token, `${mutual}/token`)
          const renewed = yield* auth.refresh()
          assert.notStrictEqual(tokenOf(renewed), tokenOf(session))
          assert.strictEqual((yield* auth.refreshUser).id, "ada")
          const api = yield* AuthHttpClient.make({ baseUrl: mutual })
          assert.strictEqual((yield* api.get("/me")).status, 200)
          return renewed
        }).pipe(Effect.provide(program(issuer, clientId, holding(own))))

        for (const http of [NodeAuth.layerHttpClient, holding(other)]) {
          assert.strictEqual(yield* Effect.provide(asks(mutual, tokenOf(session)), http), 401)
          const { reason } = yield* Effect.gen(function*() {
            const client = yield* IamClient.IamClient
            return yield* Effect.flip(client.renew(session, Selection.none))
          }).pipe(Effect.provide(Layer.fresh(iam(issuer, clientId)).pipe(Layer.provide(http))))
          assert.strictEqual(reason._tag, "Misconfigured")
        }
        // The session is as good as before.
        const again = yield* Effect.provide(
          Effect.flatMap(IamClient.IamClient, (client) => client.renew(session, Selection.none)),
          Layer.fresh(iam(issuer, clientId)).pipe(Layer.provide(holding(own)))
        )
        assert.notStrictEqual(Redacted.value(again.tokens.accessToken), tokenOf(session))
      }))
  }
})
