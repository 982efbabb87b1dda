/** A provider of raw HTTP that imports nothing of ours: what it says is what a test tells it to say. */
import { Selection, Session, SessionKey, TokenSet } from "@effect-authn/core"
import { DateTime, Duration, Effect, Option, Redacted, type Scope } from "effect"
import * as Crypto from "node:crypto"
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from "node:http"

export interface Reply {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** An object is JSON, a text is itself; `drop` cuts the connection. */
  readonly body?: object | string
  readonly drop?: boolean
}

export interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly form: URLSearchParams
}

type Answer = Reply | ((asked: Asked, base: string) => Reply)

export interface Script {
  /** What comes after the origin in the issuer. */
  readonly path?: string
  readonly discovery?: (base: string) => object
  readonly routes?: { readonly [path: string]: Answer }
}

export interface RawProvider {
  readonly origin: string
  readonly issuer: string
  readonly asked: ReadonlyArray<Asked>
}

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

export const keys = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
export const otherKeys = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })

const jwk = (key: Crypto.KeyObject, fields: object) => ({ ...key.export({ format: "jwk" }), ...fields })
export const jwks = { keys: [jwk(keys.publicKey, { kid: "1", use: "sig", alg: "ES256" })] }
/** As some publish them: without `use` and `alg`, among keys for other things. */
export const barejwks = {
  keys: [
    jwk(Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey, { kid: "0" }),
    jwk(keys.publicKey, { kid: "1" })
  ]
}

export const sign = (claims: object, header: object = {}, key = keys.privateKey): string => {
  const text = `${part({ alg: "ES256", kid: "1", typ: "JWT", ...header })}.${part(claims)}`
  return `${text}.${Crypto.sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`
}

export const unsigned = (claims: object): string => `${part({ alg: "none" })}.${part(claims)}.`

/** The date of an answer, as far ahead of the machine's clock as told, in seconds. */
export const date = (ahead: number) => ({ date: new Date(Date.now() + ahead * 1000).toUTCString() })

export const seconds = () => Math.floor(Date.now() / 1000)

const metadata = (issuer: string, base = issuer.replace(/\/$/, "")) => ({
  issuer,
  authorization_endpoint: `${base}/authorize`,
  token_endpoint: `${base}/token`,
  userinfo_endpoint: `${base}/userinfo`,
  device_authorization_endpoint: `${base}/device`,
  revocation_endpoint: `${base}/revoke`,
  jwks_uri: `${base}/jwks`
})

const read = (request: IncomingMessage): Promise<string> =>
  new Promise((resolve) => {
    let text = ""
    request.on("data", (chunk) => text += String(chunk))
    request.on("end", () => resolve(text))
  })

export const serve = (script: Script = {}): Effect.Effect<RawProvider, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() =>
        new Promise<RawProvider & { readonly stop: () => void }>((resolve) => {
          const asked: Array<Asked> = []
          const path = script.path ?? ""
          const server = createServer((request, response) => {
            void read(request).then((text) => {
              const url = new URL(request.url ?? "/", "http://127.0.0.1")
              const one: Asked = {
                method: request.method ?? "",
                path: url.pathname,
                headers: request.headers,
                form: new URLSearchParams(text)
              }
              asked.push(one)
              const known: { readonly [path: string]: Answer } = {
                [`${path.replace(/\/$/, "")}/.well-known/openid-configuration`]: {
                  body: { ...metadata(base), ...script.discovery?.(base) }
                },
                [`${path.replace(/\/$/, "")}/jwks`]: { body: jwks },
                ...script.routes
              }
              const answer = known[url.pathname] ?? { status: 404, body: "<h1>Not Found</h1>" }
              const reply = typeof answer === "function" ? answer(one, base) : answer
              if (reply.drop === true) return request.socket.destroy()
              const body = reply.body ?? ""
              response.writeHead(reply.status ?? 200, {
                ...(typeof body === "string" ? {} : { "content-type": "application/json" }),
                ...reply.headers
              })
              return response.end(typeof body === "string" ? body : JSON.stringify(body))
            })
          })
          let base = ""
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            const origin = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
            base = `${origin}${path}`
            const stop = () => {
              server.close()
              server.closeAllConnections()
            }
            resolve({ origin, issuer: base, asked, stop })
          })
        })
      ),
      ({ stop }) => Effect.sync(stop)
    ),
    (server) => server
  )

/** A session of the client `cli` that a refresh token renews; `prefix` begins the values of its tokens. */
export const sessionOf = (issuer: string, prefix = "", fields: Partial<Session.Session> = {}) =>
  Effect.map(DateTime.now, (now) =>
    Session.Session.make({
      key: SessionKey.SessionKey.make({ issuer, clientId: "cli", account: "default" }),
      generation: 1,
      durable: true,
      strategy: "browser",
      user: Option.none(),
      grant: { _tag: "RefreshToken", refreshToken: Redacted.make(`${prefix}rt-0`) },
      tokens: {
        "": TokenSet.fromAnswer({
          accessToken: Redacted.make(`${prefix}at-0`),
          idToken: Redacted.make(sign({ iss: issuer, sub: "ada" })),
          receivedAt: now,
          serverTime: Option.none(),
          defaultLifetime: Duration.hours(1)
        })
      },
      current: Selection.none,
      dead: Option.none(),
      intent: Option.none(),
      ...fields
    }))
