import { IamClient, type IamError, Selection, Session, SessionKey } from "@effect-authn/core"
import { GenomcoreIam, type GenomcoreOptions } from "@effect-authn/iam-genomcore"
import { BareServer } from "@effect-authn/testing"
import { assert } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { inspect } from "node:util"

const { json, serve } = BareServer

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** A token as an IAM would make it, down to its length; nothing here checks its signature. */
export const jwt = (claims: unknown): string =>
  `${part({ alg: "RS256", typ: "JWT" })}.${part(claims)}.${Buffer.alloc(256, 7).toString("base64url")}`

export const secret = (text: string, label?: string) => Redacted.make(text, { label })

export const refreshGrant = (text: string) =>
  Session.Grant.make({ _tag: "RefreshToken", refreshToken: secret(text, "refresh_token") })

export const layer = (options: GenomcoreOptions.GenomcoreOptions) =>
  GenomcoreIam.layer(options).pipe(Layer.provide(FetchHttpClient.layer))

export const dialect = (options: GenomcoreOptions.GenomcoreOptions = {}) =>
  Effect.provide(IamClient.IamClient, layer({ host: "https://auth.example.com", ...options }))

export const credentials = (password = "correct horse"): IamClient.Credentials => ({
  _tag: "Password",
  handle: "ada",
  password: secret(password)
})

export const acme = Selection.make({ organization: "acme" })
export const acmeIn = (project: string) => Selection.make({ organization: "acme", project })

export const session = (
  issued: Session.TokenResponse,
  current: Selection.Selection,
  issuer = "https://auth.example.com"
) =>
  Session.Session.make({
    key: SessionKey.SessionKey.make({ issuer, clientId: "genomcore", account: "default" }),
    generation: 1,
    durable: true,
    strategy: "password",
    user: issued.user,
    grant: issued.grant,
    tokens: { [Selection.id(current)]: issued.tokens },
    current,
    dead: Option.none(),
    intent: Option.none()
  })

export const refreshTokenOf = ({ grant }: Pick<Session.Session, "grant">): string | undefined =>
  grant._tag === "RefreshToken" ? Redacted.value(grant.refreshToken) : undefined

/** All the ways in which a value is commonly printed. */
export const shown = (value: unknown): string =>
  // oxlint-disable-next-line typescript/no-base-to-string -- what a template string would show is the point
  [String(value), JSON.stringify(value), inspect(value, { depth: 20 }), inspect(value, { showHidden: true, depth: 20 })]
    .join("\n")

/** The reason of an expected `IamError`, which must show none of `secrets` however it is printed. */
export const refusal = <A, R>(
  effect: Effect.Effect<A, IamError.IamError, R>,
  ...secrets: ReadonlyArray<string>
): Effect.Effect<IamError.IamErrorReason, A, R> =>
  Effect.map(Effect.flip(effect), (error) => {
    for (const secret of secrets) assert.notInclude(`${error.stack}\n${shown(error)}`, secret)
    return error.reason
  })

export const token = jwt({ exp: 4_000_000_000, sub: "1" })
export const pair = { token, refreshToken: "r-1" }
export const ok: BareServer.Script = () => json(201, pair)

/** Runs a test against a bare server; `it.live`, for what waits here is a socket. */
export const against = <A, E>(
  script: BareServer.Script,
  test: (server: {
    readonly origin: string
    readonly seen: ReadonlyArray<BareServer.Seen>
  }) => Effect.Effect<A, E, IamClient.IamClient | GenomcoreIam.GenomcoreIam>,
  options: GenomcoreOptions.GenomcoreOptions = {}
) =>
  Effect.gen(function*() {
    const server = yield* serve(script)
    return yield* Effect.provide(test(server), layer({ host: server.origin, ...options }))
  })

export const login = (selection = acme, password?: string) =>
  IamClient.IamClient.use((iam) => iam.login(credentials(password), selection))

export const held = (issued: Partial<Session.TokenResponse> = {}) =>
  Effect.map(
    IamClient.IamClient.use((iam) => iam.adopt(secret(token))),
    (adopted) =>
      session(
        { ...adopted, grant: refreshGrant("r-0"), ...issued },
        acme
      )
  )

export const renew = (target = acme) =>
  Effect.gen(function*() {
    const iam = yield* IamClient.IamClient
    return yield* iam.renew(yield* held(), target)
  })

/** The JSON object of texts that a request carried. */
export const bodyOf = (seen: Pick<BareServer.Seen, "body"> | undefined) => {
  const body: { readonly [name: string]: string } = JSON.parse(seen?.body ?? "null")
  return body
}

export const bodies = (seen: ReadonlyArray<BareServer.Seen>) => seen.map(bodyOf)
