/**
 * An `IamClient` that speaks to no server: for tests of programs that sign in.
 *
 * @since 0.1.0
 */
import * as IamClient from "@effect-authn/core/iam/IamClient"
import * as IamError from "@effect-authn/core/iam/IamError"
import * as SessionDocument from "@effect-authn/core/iam/SessionDocument"
import * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as User from "@effect-authn/core/session/User"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/**
 * What may change while a program runs:
 *
 * - `lifetime` of new access tokens (one hour); infinite: a token names no end.
 * - `latency` (none): the IAM acts when a call comes in and answers this much later, so that a caller who gave up in
 *   between has lost the answer.
 * - `rotation` of refresh tokens (`rotate`): `none` keeps the one there is; `rotate` answers with a new one and refuses
 *   the old one; `strict` also revokes the whole family when it sees an old one again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Knobs {
  readonly lifetime: Duration.Duration
  readonly latency: Duration.Duration
  readonly rotation: "none" | "rotate" | "strict"
}

/**
 * How the scripted IAM starts. `tokens` says how access tokens look (`jwt`: with claims, and a signature that verifies
 * nowhere), `grant` what renews them. One account exists: `ada`, with the password `correct-horse-battery`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly issuer?: string
  readonly clientId?: string
  readonly policy?: Partial<RefreshPolicy.RefreshPolicy>
  readonly environment?: ReadonlyArray<string>
  readonly tokens?: "jwt" | "opaque"
  readonly grant?: Session.Grant["_tag"]
  readonly user?: User.User
  readonly lifetime?: Duration.Input
  readonly latency?: Duration.Input
  readonly rotation?: Knobs["rotation"]
}

/**
 * The methods of `IamClient` that would be a request.
 *
 * @category models
 * @since 0.1.0
 */
export type Method = "login" | "renew" | "whoami" | "revoke"

/**
 * One call, as the IAM saw it.
 *
 * - `at` and `answeredAt` are epoch milliseconds; `answeredAt` is absent while the caller waits, or when it gave up.
 * - `selection` is what was asked for, by `Selection.id`.
 * - `refreshToken` and `accessToken` number the presented tokens in the order of their issue, from 1; absent when none
 *   was presented, or one that this IAM never issued.
 * - `outcome` is `answered`, the tag of the failure, or `lost`: the IAM acted, and the caller got a failure instead.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly at: number
  readonly answeredAt: number | undefined
  readonly method: Method
  readonly selection: Selection.SelectionId
  readonly refreshToken: number | undefined
  readonly accessToken: number | undefined
  readonly outcome: "answered" | "lost" | IamError.IamErrorReason["_tag"]
}

/**
 * A failure to play. `times` is once unless told. With `answerLost` the IAM acts on the call first (it spends the
 * refresh token), and the caller still gets the failure.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failure {
  readonly reason: IamError.IamErrorReason
  readonly times?: number
  readonly answerLost?: boolean
}

/**
 * The other side of the scripted `IamClient`.
 *
 * @category services
 * @since 0.1.0
 */
export class ScriptedIam extends Context.Service<ScriptedIam, {
  /** Every call in order of arrival. */
  readonly calls: Effect.Effect<ReadonlyArray<Call>>
  /** How many calls of one method have arrived. */
  readonly count: (method: Method) => Effect.Effect<number>
  /** Queues a failure for the next calls of a method, after those already queued. */
  readonly failNext: (method: Method, failure: Failure) => Effect.Effect<void>
  /** Changes the named knobs and leaves the others. */
  readonly set: (knobs: Partial<Knobs>) => Effect.Effect<void>
  /** Makes an access token as if it had been obtained elsewhere, for `AuthStrategy.token`. */
  readonly issue: Effect.Effect<Redacted.Redacted>
  /** Kills every token and grant, as if the account had been signed out everywhere. */
  readonly revokeAll: Effect.Effect<void>
  /** Starts afresh: no calls, no failures, no tokens, the knobs of the options. */
  readonly reset: Effect.Effect<void>
}>()("@effect-authn/testing/ScriptedIam") {}

/**
 * The password of `ada`.
 *
 * @category fixtures
 * @since 0.1.0
 */
export const password: Redacted.Redacted = Redacted.make("correct-horse-battery", { label: "password" })

const ada = User.User.make({
  id: "01J0ADA",
  handle: Option.some("ada"),
  displayName: Option.some("Ada Lovelace"),
  firstName: Option.some("Ada"),
  lastName: Option.some("Lovelace"),
  email: Option.some("ada@example.org"),
  avatarUrl: Option.some("https://example.org/ada.png"),
  roles: ["platform_member"],
  profile: Redacted.make({ handle: "ada" }, { label: "profile" })
})

const encodeJson = Schema.encodeSync(Schema.fromJsonString(Schema.Json))

const jwt = (claims: Schema.JsonObject): string =>
  [{ alg: "RS256", typ: "JWT" }, claims].map((part) => Base64Url.encode(encodeJson(part))).join(".") +
  `.${Base64Url.encode("scripted, verifies nowhere")}`

/**
 * The `IamClient` and its script. Time is Effect's clock.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<ScriptedIam | IamClient.IamClient> =>
  Layer.effectContext(Effect.sync(() => {
    const issuer = options.issuer ?? "https://iam.example"
    const policy = { ...RefreshPolicy.standard, ...options.policy }
    const user = options.user ?? ada
    const initial: Knobs = {
      lifetime: Duration.fromInputUnsafe(options.lifetime ?? "1 hour"),
      latency: Duration.fromInputUnsafe(options.latency ?? 0),
      rotation: options.rotation ?? "rotate"
    }

    let knobs = initial
    let calls: Array<{ -readonly [K in keyof Call]: Call[K] }> = []
    let failures: Array<{ readonly method: Method; readonly failure: Failure; left: number }> = []
    // Numbers go on across `reset`, so that a token of before is never taken for one of after.
    let issued = 0
    let access = new Map<string, { readonly number: number; readonly expiresAt: number }>()
    let refresh = new Map<string, { readonly number: number; readonly family: number; spent: boolean }>()

    const revokeFamily = (family: number) => {
      refresh = new Map([...refresh].filter(([, one]) => one.family !== family))
    }

    const issueAccess = (selection: Selection.Selection) =>
      Effect.map(DateTime.now, (now) => {
        const number = ++issued
        const at = DateTime.toEpochMillis(now)
        const expiresAt = at + Duration.toMillis(knobs.lifetime)
        const end = Number.isFinite(expiresAt) ? { exp: expiresAt / 1000 } : {}
        const { organization = null, project = null } = selection
        const claims = {
          iss: issuer,
          sub: user.id,
          jti: `${number}`,
          iat: Math.trunc(at / 1000),
          organization,
          project,
          ...end
        }
        const token = options.tokens === "opaque" ? `access-${number}` : jwt(claims)
        access.set(token, { number, expiresAt })
        return TokenSet.TokenSet.make({
          accessToken: Redacted.make(token, { label: "access_token" }),
          tokenType: "Bearer",
          issuedAt: now,
          expiresAt: Number.isFinite(expiresAt) ? DateTime.make(expiresAt) : Option.none(),
          idToken: Option.none(),
          scope: Option.fromNullishOr(selection.scope)
        })
      })

    const issueRefresh = (family?: number): Session.Grant => {
      const number = ++issued
      const token = `refresh-${number}`
      refresh.set(token, { number, family: family ?? number, spent: false })
      return { _tag: "RefreshToken", refreshToken: Redacted.make(token, { label: "refresh_token" }) }
    }

    const answer = (selection: Selection.Selection, grant: () => Session.Grant) =>
      Effect.map(issueAccess(selection), (tokens): Session.TokenResponse => ({
        tokens,
        grant: grant(),
        user: Option.some(user)
      }))

    const isKnown = (tokens: Option.Option<TokenSet.TokenSet>) =>
      Effect.map(DateTime.now, (now) => {
        const found = Option.isSome(tokens) ? access.get(Redacted.value(tokens.value.accessToken)) : undefined
        return found !== undefined && DateTime.toEpochMillis(now) < found.expiresAt
      })

    const rotated = (token: Redacted.Redacted, target: Selection.Selection) =>
      Effect.gen(function*() {
        const presented = refresh.get(Redacted.value(token))
        if (presented === undefined) return yield* new IamError.GrantDead({ detail: "unknown refresh token" })
        if (presented.spent) {
          if (knobs.rotation === "strict") revokeFamily(presented.family)
          return yield* new IamError.GrantDead({ detail: "this refresh token was used before" })
        }
        if (knobs.rotation === "none") {
          return yield* answer(target, () => ({ _tag: "RefreshToken", refreshToken: token }))
        }
        presented.spent = true
        return yield* answer(target, () => issueRefresh(presented.family))
      })

    const renewed = (
      session: Session.Session,
      target: Selection.Selection
    ): Effect.Effect<Session.TokenResponse, IamError.GrantDead | IamError.Unsupported> =>
      Session.Grant.match(session.grant, {
        RefreshToken: ({ refreshToken }) => rotated(refreshToken, target),
        ExchangeAccessToken: (grant) =>
          Effect.flatMap(isKnown(Session.currentToken(session)), (known) =>
            known
              ? answer(target, () => grant)
              : Effect.fail(new IamError.GrantDead({ detail: "invalid token" }))),
        Reissue: (grant) => answer(target, () => grant),
        None: () => Effect.fail(new IamError.Unsupported({ detail: "nothing can renew this session" }))
      })

    const takeFailure = (method: Method): Failure | undefined => {
      const next = failures.find((one) => one.method === method && one.left > 0)
      if (next !== undefined) next.left -= 1
      return next?.failure
    }

    const call = <A>(
      method: Method,
      asked: { readonly selection: Selection.Selection; readonly session?: Session.Session },
      act: Effect.Effect<A, IamError.IamErrorReason>
    ): Effect.Effect<A, IamError.IamError> =>
      Effect.gen(function*() {
        const grant = asked.session?.grant
        const tokens = asked.session === undefined ? Option.none() : Session.currentToken(asked.session)
        const entry: typeof calls[number] = {
          at: DateTime.toEpochMillis(yield* DateTime.now),
          answeredAt: undefined,
          method,
          selection: Selection.id(asked.selection),
          refreshToken: grant?._tag === "RefreshToken"
            ? refresh.get(Redacted.value(grant.refreshToken))?.number
            : undefined,
          accessToken: Option.isSome(tokens) ? access.get(Redacted.value(tokens.value.accessToken))?.number : undefined,
          outcome: "answered"
        }
        calls.push(entry)
        const failure = takeFailure(method)
        const outcome = yield* Effect.exit(
          failure === undefined
            ? act
            : Effect.andThen(failure.answerLost === true ? Effect.exit(act) : Effect.void, Effect.fail(failure.reason))
        )
        yield* Effect.sleep(knobs.latency)
        entry.answeredAt = DateTime.toEpochMillis(yield* DateTime.now)
        return yield* Effect.tapError(outcome, (reason) =>
          Effect.sync(() => {
            entry.outcome = failure?.answerLost === true ? "lost" : reason._tag
          }))
      }).pipe(Effect.mapError((reason) => new IamError.IamError({ issuer, method, reason })))

    const adoptedGrant = (): Session.Grant => ({
      _tag: options.grant === "ExchangeAccessToken" ? "ExchangeAccessToken" : "None"
    })

    const client = IamClient.IamClient.of({
      issuer,
      clientId: options.clientId ?? "scripted",
      policy,
      environment: options.environment ?? ["SCRIPTED_TOKEN"],
      login: (credentials, selection) =>
        call(
          "login",
          { selection },
          credentials.handle === "ada" && Redacted.value(credentials.password) === Redacted.value(password)
            ? answer(
              selection,
              () =>
                options.grant === undefined || options.grant === "RefreshToken"
                  ? issueRefresh()
                  : { _tag: options.grant }
            )
            : Effect.fail(new IamError.CredentialsRefused({ detail: "wrong handle or password" }))
        ),
      adopt: IamClient.adoptBearer({ issuer, grantOf: adoptedGrant }),
      renew: (session, selection) => call("renew", { selection, session }, renewed(session, selection)),
      whoami: (session) =>
        call(
          "whoami",
          { selection: session.current, session },
          Effect.flatMap(isKnown(Session.currentToken(session)), (known) =>
            known ? Effect.succeed(user) : Effect.fail(new IamError.CredentialsRefused({ detail: "invalid token" })))
        ),
      revoke: (session) =>
        call(
          "revoke",
          { selection: session.current, session },
          Effect.sync(() => {
            for (const tokens of Object.values(session.tokens)) access.delete(Redacted.value(tokens.accessToken))
            if (session.grant._tag === "RefreshToken") {
              const presented = refresh.get(Redacted.value(session.grant.refreshToken))
              if (presented !== undefined) revokeFamily(presented.family)
            }
            return IamClient.Revocation.cases.Revoked.make({})
          })
        ),
      present: IamClient.presentBearer,
      document: SessionDocument.make({
        issuer,
        grantOf: adoptedGrant
      })
    })

    const script = ScriptedIam.of({
      calls: Effect.sync(() => calls.map((entry) => ({ ...entry }))),
      count: (method) => Effect.sync(() => calls.filter((entry) => entry.method === method).length),
      failNext: (method, failure) =>
        Effect.sync(() => {
          failures.push({ method, failure, left: failure.times ?? 1 })
        }),
      set: (changed) =>
        Effect.sync(() => {
          knobs = { ...knobs, ...changed }
        }),
      issue: Effect.map(issueAccess(Selection.none), (tokens) => tokens.accessToken),
      revokeAll: Effect.sync(() => {
        access = new Map()
        refresh = new Map()
      }),
      reset: Effect.sync(() => {
        knobs = initial
        calls = []
        failures = []
        access = new Map()
        refresh = new Map()
      })
    })

    return Context.make(IamClient.IamClient, client).pipe(Context.add(ScriptedIam, script))
  }))
