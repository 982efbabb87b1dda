/**
 * An `IamClient` that speaks to no server: for tests of programs that sign in.
 *
 * @since 0.1.0
 */
import * as ExportDocument from "@effect-authn/core/iam/ExportDocument"
import * as IamClient from "@effect-authn/core/iam/IamClient"
import * as IamError from "@effect-authn/core/iam/IamError"
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
 * - `grace` (none): how long a refresh token is answered again after it was first used, with a new access token and the
 *   refresh token of the first answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Knobs {
  readonly lifetime: Duration.Duration
  readonly latency: Duration.Duration
  readonly rotation: "none" | "rotate" | "strict"
  readonly grace: Duration.Duration
}

/**
 * How the scripted IAM starts. `tokens` says how access tokens look (`jwt`: with claims, and a signature that verifies
 * nowhere), `grant` what renews them. Two accounts exist, `ada` (whose `user` may be another one) and `bob`, both with the
 * password `correct-horse-battery`.
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
  readonly grace?: Duration.Input
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
 * - `subject` is the id of the user whose tokens were presented or issued, and `login` numbers the login that they come
 *   from by its first refresh token; absent where there is none.
 * - `issued` numbers the tokens that the IAM made, also those of an answer that was lost.
 * - `familyRevoked` says that a refresh token was seen again, and that this ended its login (`strict`).
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
  readonly subject: string | undefined
  readonly login: number | undefined
  readonly issued: { readonly accessToken: number; readonly refreshToken: number | undefined } | undefined
  readonly familyRevoked: boolean
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
 * The password of `ada` and of `bob`.
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

const bob = User.User.make({
  id: "01J0BOB",
  handle: Option.some("bob"),
  displayName: Option.some("Bob Noyce"),
  firstName: Option.some("Bob"),
  lastName: Option.some("Noyce"),
  email: Option.some("bob@example.org"),
  avatarUrl: Option.none(),
  roles: ["platform_member"],
  profile: Redacted.make({ handle: "bob" }, { label: "profile" })
})

const encodeJson = Schema.encodeSync(Schema.fromJsonString(Schema.Json))

const jwt = (claims: Schema.JsonObject): string =>
  [{ alg: "RS256", typ: "JWT" }, claims].map((part) => Base64Url.encode(encodeJson(part))).join(".") +
  `.${Base64Url.encode("scripted, verifies nowhere")}`

interface Access {
  readonly number: number
  readonly expiresAt: number
  readonly user: User.User
}

interface Refresh {
  readonly number: number
  readonly family: number
  readonly user: User.User
  spentAt: number | undefined
  successor: Session.Grant | undefined
}

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
    const first = options.user ?? ada
    const users = new Map([["ada", first], ["bob", bob]])
    const initial: Knobs = {
      lifetime: Duration.fromInputUnsafe(options.lifetime ?? "1 hour"),
      latency: Duration.fromInputUnsafe(options.latency ?? 0),
      rotation: options.rotation ?? "rotate",
      grace: Duration.fromInputUnsafe(options.grace ?? 0)
    }

    let knobs = initial
    let calls: Array<{ -readonly [K in keyof Call]: Call[K] }> = []
    let failures: Array<{ readonly method: Method; readonly failure: Failure; left: number }> = []
    // Numbers go on across `reset`, so that a token of before is never taken for one of after.
    let issued = 0
    let access = new Map<string, Access>()
    let refresh = new Map<string, Refresh>()

    const revokeFamily = (family: number) => {
      refresh = new Map([...refresh].filter(([, one]) => one.family !== family))
    }

    const issueAccess = (user: User.User, selection: Selection.Selection) =>
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
        access.set(token, { number, expiresAt, user })
        return TokenSet.TokenSet.make({
          accessToken: Redacted.make(token, { label: "access_token" }),
          tokenType: "Bearer",
          issuedAt: now,
          expiresAt: Number.isFinite(expiresAt) ? DateTime.make(expiresAt) : Option.none(),
          idToken: Option.none(),
          scope: Option.fromNullishOr(selection.scope)
        })
      })

    const issueRefresh = (user: User.User, family?: number): Session.Grant => {
      const number = ++issued
      const token = `refresh-${number}`
      refresh.set(token, { number, family: family ?? number, user, spentAt: undefined, successor: undefined })
      return { _tag: "RefreshToken", refreshToken: Redacted.make(token, { label: "refresh_token" }) }
    }

    const answer = (user: User.User, selection: Selection.Selection, grant: () => Session.Grant) =>
      Effect.map(issueAccess(user, selection), (tokens): Session.TokenResponse => ({
        tokens,
        grant: grant(),
        user: Option.some(user)
      }))

    const accessOf = (tokens: Option.Option<TokenSet.TokenSet>) =>
      Option.isSome(tokens) ? access.get(Redacted.value(tokens.value.accessToken)) : undefined

    const refreshOf = (grant: Session.Grant | undefined) =>
      grant?._tag === "RefreshToken" ? refresh.get(Redacted.value(grant.refreshToken)) : undefined

    /** Whose a token is that is valid now. */
    const userOf = (tokens: Option.Option<TokenSet.TokenSet>) =>
      Effect.map(DateTime.now, (now) => {
        const found = accessOf(tokens)
        return found !== undefined && DateTime.toEpochMillis(now) < found.expiresAt ? found.user : undefined
      })

    const rotated = (token: Redacted.Redacted, target: Selection.Selection) =>
      Effect.gen(function*() {
        const presented = refresh.get(Redacted.value(token))
        const now = DateTime.toEpochMillis(yield* DateTime.now)
        if (presented === undefined) return yield* new IamError.GrantDead({ detail: "unknown refresh token" })
        const { family, spentAt, successor, user } = presented
        if (spentAt !== undefined) {
          if (successor !== undefined && now - spentAt < Duration.toMillis(knobs.grace)) {
            return yield* answer(user, target, () => successor)
          }
          if (knobs.rotation === "strict") revokeFamily(family)
          return yield* new IamError.GrantDead({ detail: "this refresh token was used before" })
        }
        if (knobs.rotation === "none") {
          return yield* answer(user, target, () => ({ _tag: "RefreshToken", refreshToken: token }))
        }
        presented.spentAt = now
        return yield* answer(user, target, () => presented.successor = issueRefresh(user, family))
      })

    const renewed = (
      session: Session.Session,
      target: Selection.Selection
    ): Effect.Effect<Session.TokenResponse, IamError.GrantDead | IamError.Unsupported> =>
      Session.Grant.match(session.grant, {
        RefreshToken: ({ refreshToken }) => rotated(refreshToken, target),
        ExchangeAccessToken: (grant) =>
          Effect.flatMap(userOf(Session.currentToken(session)), (user) =>
            user !== undefined
              ? answer(user, target, () => grant)
              : Effect.fail(new IamError.GrantDead({ detail: "invalid token" }))),
        Reissue: (grant) => answer(accessOf(Session.currentToken(session))?.user ?? first, target, () => grant),
        None: () => Effect.fail(new IamError.Unsupported({ detail: "nothing can renew this session" }))
      })

    const takeFailure = (method: Method): Failure | undefined => {
      const next = failures.find((one) => one.method === method && one.left > 0)
      if (next !== undefined) next.left -= 1
      return next?.failure
    }

    const call = <A>(
      method: Method,
      asked: {
        readonly selection: Selection.Selection
        readonly session?: Session.Session
        readonly issues?: (answer: A) => Session.TokenResponse
      },
      act: Effect.Effect<A, IamError.IamErrorReason>
    ): Effect.Effect<A, IamError.IamError> =>
      Effect.gen(function*() {
        const presented = refreshOf(asked.session?.grant)
        const current = asked.session === undefined ? undefined : accessOf(Session.currentToken(asked.session))
        const entry: typeof calls[number] = {
          at: DateTime.toEpochMillis(yield* DateTime.now),
          answeredAt: undefined,
          method,
          selection: Selection.id(asked.selection),
          refreshToken: presented?.number,
          accessToken: current?.number,
          subject: presented?.user.id ?? current?.user.id,
          login: presented?.family,
          issued: undefined,
          familyRevoked: false,
          outcome: "answered"
        }
        calls.push(entry)
        const noted = Effect.tap(act, (made) =>
          Effect.sync(() => {
            const response = asked.issues?.(made)
            if (response === undefined) return
            const access = accessOf(Option.some(response.tokens))
            const grant = refreshOf(response.grant)
            entry.subject = access?.user.id
            entry.login = grant?.family
            entry.issued = access === undefined
              ? undefined
              : { accessToken: access.number, refreshToken: grant?.number }
          }))
        const failure = takeFailure(method)
        const outcome = yield* Effect.exit(
          failure === undefined
            ? noted
            : Effect.andThen(
              failure.answerLost === true ? Effect.exit(noted) : Effect.void,
              Effect.fail(failure.reason)
            )
        )
        entry.familyRevoked = method === "renew" && presented !== undefined &&
          refreshOf(asked.session?.grant) === undefined
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
          { selection, issues: (response) => response },
          Effect.suspend(() => {
            const user = users.get(credentials.handle)
            return user !== undefined && Redacted.value(credentials.password) === Redacted.value(password)
              ? answer(
                user,
                selection,
                () =>
                  options.grant === undefined || options.grant === "RefreshToken"
                    ? issueRefresh(user)
                    : { _tag: options.grant }
              )
              : Effect.fail(new IamError.CredentialsRefused({ detail: "wrong handle or password" }))
          })
        ),
      adopt: IamClient.adoptBearer({ issuer, grantOf: adoptedGrant }),
      renew: (session, selection) =>
        call("renew", { selection, session, issues: (response) => response }, renewed(session, selection)),
      whoami: (session) =>
        call(
          "whoami",
          { selection: session.current, session },
          Effect.filterOrFail(
            userOf(Session.currentToken(session)),
            (user) => user !== undefined,
            () => new IamError.CredentialsRefused({ detail: "invalid token" })
          )
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
      document: ExportDocument.make({
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
      issue: Effect.map(issueAccess(first, Selection.none), (tokens) => tokens.accessToken),
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
