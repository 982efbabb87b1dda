/** What the tests of the dialect share. */
import { IamClient, Selection, Session, SessionKey } from "@effect-authn/core"
import { DatalayerIam, type DatalayerOptions } from "@effect-authn/iam-datalayer"
import { BareServer } from "@effect-authn/testing"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Context, Duration, Effect, Option, Redacted } from "effect"
import type { Layer } from "effect"
import { FetchHttpClient, type HttpClient } from "effect/http"

export const clients: ReadonlyArray<[string, Layer.Layer<HttpClient.HttpClient>]> = [
  ["fetch", FetchHttpClient.layer],
  ["undici", NodeHttpClient.layerUndici],
  ["node:http", NodeHttpClient.layerNodeHttp]
]

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** A token in the shape that the existing clients insist on. Nobody could verify its signature. */
export const jwt = (claims: Readonly<Record<string, unknown>> = {}): string =>
  [part({ alg: "RS256", typ: "JWT" }), part({ sub: { uid: "01H", handle: "ada" }, ...claims }), "s".repeat(86)].join(
    "."
  )

/** Valid for an hour of real time, and of the test clock, which starts at 1970. */
export const goodToken = jwt({ exp: 4_000_000_000 })

export const profile = {
  id: "6a1b",
  uid: "01HADA",
  handle_s: "ada",
  email_s: "ada@example.com",
  first_name_t: "Ada",
  last_name_t: "Lovelace",
  avatar_url_s: "https://example.com/ada.png",
  roles_ss: ["platform_member"]
}

export const sessionOf = (
  issuer: string,
  issued: Session.TokenResponse
): Session.Session =>
  Session.Session.make({
    key: SessionKey.SessionKey.make({ issuer, clientId: "datalayer", account: "default" }),
    generation: 1,
    durable: true,
    strategy: "test",
    user: issued.user,
    grant: issued.grant,
    tokens: { [Selection.id(Selection.none)]: issued.tokens },
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })

export const make = (options: DatalayerOptions.DatalayerOptions) =>
  Effect.map(DatalayerIam.make(options), Context.get(IamClient.IamClient))

/** The dialect at an address, with a session that holds `token`. A request has a minute, for a busy machine. */
export const signedIn = Effect.fnUntraced(function*(
  issuer: string,
  { timeLimit = Duration.minutes(1), token = goodToken }: {
    readonly timeLimit?: Duration.Duration
    readonly token?: string
  } = {}
) {
  const iam = yield* make({ issuer, policy: { timeLimit } })
  return { iam, session: sessionOf(iam.issuer, yield* iam.adopt(Redacted.make(token))) }
})

export const password = "correct horse battery"

/** The three requests that carry a credential, each by its name. */
export const requests = (
  iam: IamClient.IamClient["Service"],
  session: Session.Session,
  secret = password
) => ({
  login: Effect.asVoid(
    iam.login(
      IamClient.Credentials.cases.Password.make({ handle: "ada", password: Redacted.make(secret) }),
      Selection.none
    )
  ),
  renew: Effect.asVoid(iam.renew(session, Selection.none)),
  whoami: Effect.asVoid(iam.whoami(session)),
  revoke: Effect.asVoid(iam.revoke(session))
})

/** A server with one route. */
export const only = (method: string, path: string, reply: (seen: BareServer.Seen) => BareServer.Reply) =>
  BareServer.serve((seen) =>
    seen.method === method && seen.path === `/api/iam/v1${path}`
      ? reply(seen)
      : BareServer.json(404, { detail: "Not Found" })
  )
