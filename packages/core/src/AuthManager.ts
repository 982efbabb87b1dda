/**
 * One account's view of its session: sign in, ask for a token, sign out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Struct from "effect/Struct"
import { type AuthError, InvalidCredentials, NotAuthenticated, ReauthenticationRequired } from "./AuthError.ts"
import { type Challenge, IamClient, type Revocation } from "./iam/IamClient.ts"
import { IamError, Misconfigured, Unsupported } from "./iam/IamError.ts"
import * as ProofKeys from "./iam/ProofKeys.ts"
import * as JwtCodec from "./jwt/JwtCodec.ts"
import * as SessionKeeper from "./keeper/SessionKeeper.ts"
import * as AuthStrategy from "./login/AuthStrategy.ts"
import * as Selection from "./session/Selection.ts"
import * as Session from "./session/Session.ts"
import * as SessionKey from "./session/SessionKey.ts"
import type { SessionState } from "./session/SessionState.ts"
import * as TokenSet from "./session/TokenSet.ts"
import * as User from "./session/User.ts"
import type { SessionLockError } from "./storage/SessionLock.ts"
import { SessionLock } from "./storage/SessionLock.ts"
import { TokenStorage } from "./storage/TokenStorage.ts"
import type { TokenStorageError } from "./storage/TokenStorageError.ts"

/**
 * What the IAM says of a token: `Valid` with its user, or `Invalid` with the reason.
 *
 * @category models
 * @since 0.1.0
 */
export const TokenValidation = Schema.TaggedUnion({
  Valid: { user: Schema.Option(User.User) },
  Invalid: { reason: Schema.String }
})

/**
 * The type of the schema `TokenValidation`.
 *
 * @category models
 * @since 0.1.0
 */
export type TokenValidation = typeof TokenValidation.Type

/**
 * - `store` (default true): whether the session outlives the program.
 * - `selection`: the organization, project, resource or scope to sign in to.
 * - `revokePrevious` (default false): whether the IAM is told to end the session that this login replaces; otherwise the
 *   old one is left to its expiry.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoginOptions {
  readonly store?: boolean
  readonly selection?: Selection.Input
  readonly revokePrevious?: boolean
}

/**
 * Signs one account in and out of one IAM and hands out tokens that are valid now.
 *
 * **When to use**
 *
 * Use when a program acts for one account at one IAM. A program with two accounts or two IAMs has two managers.
 *
 * @category services
 * @since 0.1.0
 */
export class AuthManager extends Context.Service<AuthManager, {
  /** Which session this manager is about: the issuer, the client and the account. */
  readonly key: SessionKey.SessionKey
  /**
   * Signs in by a strategy, and puts the new session in the place of the earlier one. Without a strategy it takes the
   * IAM's environment variables, then the stored session, then what else its layer has (`AuthStrategy.Unattended`).
   *
   * A login that fails leaves the earlier session as it was. When the new session cannot be stored it fails with
   * `TokenStorageError`, and the session lives on in this program. Where a person is asked, several programs that sign in
   * at the same time ask once.
   */
  readonly login: <Strategy extends AuthStrategy.AuthStrategy<unknown> | undefined = undefined>(
    strategy?: Strategy,
    options?: LoginOptions
  ) => Effect.Effect<Session.Session, AuthError, AuthStrategy.Services<Strategy>>
  /**
   * Ends the session at the IAM, here and in the storage. The answer says whether the IAM was told, or why not. It fails
   * only where the storage could not be cleaned, with what is left; in this program the session ends in any case.
   */
  readonly logout: Effect.Effect<Revocation, TokenStorageError | SessionLockError>
  /** Who is signed in: the known user, else the IAM is asked. `None` only when nobody is signed in. */
  readonly whoami: Effect.Effect<Option.Option<User.User>, AuthError>
  /** Asks the IAM who is signed in, and keeps what it says. */
  readonly refreshUser: Effect.Effect<User.User, AuthError>
  /** Asks the IAM about any token. The session is not touched. */
  readonly validate: (token: Redacted.Redacted) => Effect.Effect<TokenValidation, IamError>
  /**
   * A token for the current selection that is valid now, with its type and its times. A due token is renewed behind the
   * caller, an expired one while the caller waits. Without a login in this program it uses the stored session.
   */
  readonly token: Effect.Effect<TokenSet.TokenSet, AuthError>
  /**
   * The bare access token, redacted: for a library that builds its own header. `bearer` is the header's value. Both fail with
   * `Unsupported` for a token that is bound to a key (RFC 9449), which is worth nothing by itself: use `AuthHttpClient`.
   */
  readonly accessToken: Effect.Effect<Redacted.Redacted, AuthError>
  /** The value of an `Authorization` header, for example `Bearer eyJ…`, redacted. `accessToken` is the bare token. */
  readonly bearer: Effect.Effect<Redacted.Redacted, AuthError>
  /** The token and the number of its login as one value, for `present` and `rejected`. */
  readonly bearerToken: Effect.Effect<Session.Bearer, AuthError>
  /** The same for another selection of the session, which does not become the current one. */
  readonly bearerTokenFor: (selection: Selection.Input) => Effect.Effect<Session.Bearer, AuthError>
  /** The claims of the current token, if it is a JWT. They are not verified, are read once for each token, and are frozen. */
  readonly claims: Effect.Effect<JwtCodec.Decoded["claims"], AuthError>
  /** A valid token for another selection of the same session, which does not become the current one. */
  readonly tokenFor: (selection: Selection.Input) => Effect.Effect<TokenSet.TokenSet, AuthError>
  /** Renews now, whatever is left of the token. A selection becomes the current one. */
  readonly refresh: (selection?: Selection.Input) => Effect.Effect<Session.Session, AuthError>
  /** Puts a token on a request for an API, in the dialect of this IAM (RFC 6750), with a proof where it needs one (RFC 9449). */
  readonly present: (
    bearer: Session.Bearer,
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientRequest.HttpClientRequest, IamError>
  /**
   * What an API's answer says about the token that `present` put on its request: `no`, `rejected` (then tell `rejected`),
   * or `retry` (then `present` it once more, and give up if the answer is the same).
   */
  readonly challenged: (
    bearer: Session.Bearer,
    response: HttpClientResponse.HttpClientResponse
  ) => Effect.Effect<Challenge>
  /**
   * Tells that an API refused a token (a 401), of the current selection or of the one that is named, and answers with
   * another one of the same login, renewed if it must be. It renews only if the refused token is still in use. Where
   * somebody else has signed in since, it fails with `NotAuthenticated`: a request of one person is never repeated as
   * another.
   */
  readonly rejected: (
    bearer: Session.Bearer,
    selection?: Selection.Input
  ) => Effect.Effect<Session.Bearer, AuthError>
  /** What is known of the session, read from the storage at first use. No request. */
  readonly session: Effect.Effect<Option.Option<Session.Session>, TokenStorageError>
  /** The state of the session, now and whenever it changes, also by another program. */
  readonly changes: Stream.Stream<SessionState>
  /** Whether there is a valid token or a grant that can renew. No request. */
  readonly isAuthenticated: Effect.Effect<boolean, TokenStorageError>
  /** The session as the plain document of its dialect, where that has one. It shows the tokens. */
  readonly export: Effect.Effect<Schema.JsonObject, NotAuthenticated | IamError | TokenStorageError>
  /**
   * Puts the session of such a document in the place of the earlier one, without a request, under this manager's
   * account. The same document imported again is the same login, and changes nothing where a session of it is stored.
   */
  readonly import: (
    document: unknown,
    options?: Pick<LoginOptions, "store">
  ) => Effect.Effect<Session.Session, IamError | TokenStorageError | SessionLockError>
  /** The access token in the storage, whether or not it is still valid. */
  readonly storedToken: Effect.Effect<Option.Option<Redacted.Redacted>, TokenStorageError>
  /** Stores a token that was obtained elsewhere. The IAM is not asked about it. */
  readonly storeToken: (token: Redacted.Redacted) => Effect.Effect<void, AuthError>
  /** Removes the stored session. The IAM is not told. */
  readonly clearStoredToken: Effect.Effect<void, TokenStorageError | SessionLockError>
}>()("@effect-authn/core/AuthManager") {}

/**
 * The manager of one account, `default` unless told.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options?: { readonly account?: string }) {
  const iam = yield* IamClient
  const storage = yield* TokenStorage
  const keeper = yield* SessionKeeper.SessionKeeper
  const lock = yield* SessionLock
  const proofKeys = yield* ProofKeys.ProofKeys
  const key = SessionKey.SessionKey.make({
    issuer: iam.issuer,
    clientId: iam.clientId,
    account: options?.account ?? "default"
  })
  const kept = keeper.open(key)
  const unattended = yield* AuthStrategy.Unattended
  const usual = AuthStrategy.chain()
  const own = iam.selection
  /** A selection on top of what this program asks for in any case. */
  const selected = (asked?: Selection.Input): Selection.Input => Struct.assign(own ?? {}, asked ?? {})
  const context = (selection?: Selection.Input): AuthStrategy.StrategyContext => ({
    key,
    selection: Selection.make(selected(selection)),
    iam,
    storage,
    unattended
  })

  const stored = Effect.orElseSucceed(storage.get(key), () => Option.none<Session.Session>())

  /** The key of a session that was just made goes where keys are kept. */
  const keepKey = (session: Session.Session): Effect.Effect<Session.Session, IamError> =>
    !session.durable || session.generation > 0 || session.proofKey?._tag !== "Enclosed"
      ? Effect.succeed(session)
      : proofKeys.keep(key, session.proofKey.jwk).pipe(
        Effect.map((proofKey) => Session.update(session, { proofKey })),
        Effect.mapError(({ message }) =>
          new IamError({ issuer: iam.issuer, method: "login", reason: new Misconfigured({ detail: message }) })
        )
      )

  /** What the IAM refuses at a login are the credentials of the one who asks. */
  const credentialsOf = <A, E, R>(asked: Effect.Effect<A, E | IamError, R>) =>
    Effect.catchReason(
      asked,
      "IamError",
      "CredentialsRefused",
      ({ detail }) => Effect.fail(new InvalidCredentials({ key, detail }))
    )

  const obtain = Effect.fnUntraced(function*<R>(
    strategy: AuthStrategy.AuthStrategy<R>,
    options: LoginOptions | undefined
  ): Effect.fn.Return<Session.Session, AuthError, R> {
    const obtained = yield* credentialsOf(strategy.obtain(context(options?.selection)))
    const replace = (made: Session.Session) => kept.replace(made, { revokePrevious: options?.revokePrevious })
    if (options?.store === false) return yield* replace(Session.update(obtained, { durable: false }))
    // Once its key is kept, the session goes to the keeper, which forgets the key of one that comes to nothing.
    return yield* Effect.uninterruptibleMask((restore) =>
      keepKey(obtained).pipe(
        Effect.flatMap((made) => Effect.forkDetach(replace(made), { startImmediately: true })),
        Effect.flatMap((replacing) => restore(Fiber.join(replacing)))
      )
    )
  })

  // What the token that was read last says.
  let read: { readonly tokens: TokenSet.TokenSet; readonly claims: JwtCodec.Decoded["claims"] } | undefined
  const claimsOf = (tokens: TokenSet.TokenSet) =>
    read !== undefined && TokenSet.isSame(read.tokens, tokens)
      ? Result.succeed(read.claims)
      : Result.map(JwtCodec.decodeUnverified(Redacted.value(tokens.accessToken)), ({ claims }) => {
        read = { tokens, claims: frozen(claims) }
        return claims
      })

  const alive = (session: Option.Option<Session.Session>) =>
    Effect.map(DateTime.now, (now) => Option.filter(session, (session) => Session.isAlive(session, now)))
  // How many logins with a person this program has finished.
  let finished = 0

  /** One person is asked once: who waited for the lock takes what the one before has made. */
  const obtainInTurn = Effect.fnUntraced(function*<R>(
    strategy: AuthStrategy.AuthStrategy<R>,
    options: LoginOptions | undefined
  ): Effect.fn.Return<Session.Session, AuthError, R> {
    const before = finished
    const held = yield* Effect.flatMap(stored, alive)
    return yield* lock.withLock(key, "login")(Effect.gen(function*() {
      const made = finished !== before
        ? yield* alive(yield* kept.session)
        : options?.store === false
        ? Option.none()
        : Option.filter(
          yield* Effect.flatMap(stored, alive),
          // Another login than that of the session that was there before.
          (session) => !Option.exists(held, (before) => Session.login(before) === Session.login(session))
        )
      const wanted = Selection.id(Selection.make(selected(options?.selection)))
      const shared = Option.filter(
        made,
        ({ current, durable }) => Selection.id(current) === wanted && durable === (options?.store !== false)
      )
      if (Option.isSome(shared)) return finished !== before ? shared.value : yield* kept.replace(shared.value)
      const session = yield* obtain(strategy, options)
      finished += 1
      return session
    }))
  })

  const loginBy = <R>(
    strategy: AuthStrategy.AuthStrategy<R>,
    options: LoginOptions | undefined
  ): Effect.Effect<Session.Session, AuthError, R> => {
    if (strategy.interactive !== true) return obtain(strategy, options)
    const inTurn = obtainInTurn(strategy, options)
    return strategy.unattended === undefined
      ? inTurn
      : Effect.catchTag(obtain(strategy.unattended, options), "NoCredentials", () => inTurn)
  }

  // The first signature infers what a union of strategies needs, the second is what any strategy is.
  function login<Strategy extends AuthStrategy.AuthStrategy<unknown> | undefined = undefined>(
    strategy?: Strategy,
    options?: LoginOptions
  ): Effect.Effect<Session.Session, AuthError, AuthStrategy.Services<Strategy>>
  function login<R>(strategy?: AuthStrategy.AuthStrategy<R>, options?: LoginOptions) {
    const logged = strategy === undefined
      ? obtain(usual, options)
      : loginBy(strategy, options)
    return Effect.withSpan(logged, "AuthManager.login")
  }

  /** Asks the IAM, once more with a renewed token if the IAM refuses the one at hand. */
  const refreshUser = Effect.gen(function*() {
    const bearer = yield* kept.bearer
    const asked = yield* currentSession
    const answer = (
      session: Session.Session
    ): Effect.Effect<{ readonly session: Session.Session; readonly user: User.User }, IamError> =>
      Effect.map(iam.whoami(session), (user) => ({ session, user }))
    const again = Effect.fnUntraced(function*(refusal: { readonly detail: string }) {
      yield* kept.rejected(bearer)
      return yield* currentSession.pipe(
        Effect.flatMap(answer),
        Effect.catchReason(
          "IamError",
          "CredentialsRefused",
          () => Effect.fail(new ReauthenticationRequired({ key, detail: refusal.detail, answerLost: false }))
        )
      )
    })
    const { session, user } = yield* Effect.catchReason(answer(asked), "IamError", "CredentialsRefused", again)
    // That it cannot be kept is no reason not to tell it.
    yield* Effect.ignore(kept.learned(session, user), { log: "Warn" })
    return user
  })

  const currentSession = Effect.flatMap(kept.session, Effect.fromOption).pipe(
    Effect.catchTag("NoSuchElementError", () => Effect.fail(new NotAuthenticated({ key })))
  )

  // The session may be that of another program, which asked for something else: its selection is not this program's.
  const token = own === undefined ? kept.token : kept.tokenFor(own)
  const bearerToken = own === undefined ? kept.bearer : kept.bearerFor(own)
  // Alone, a token that is bound to a key is worth nothing.
  const boundToken = new IamError({
    issuer: iam.issuer,
    method: "token",
    reason: new Unsupported({
      detail: "the token is bound to a key, and is worth nothing without its proof: send requests with AuthHttpClient"
    })
  })
  const isLoose = Effect.map(
    kept.session,
    (session) => !Option.exists(session, ({ proofKey }) => proofKey !== undefined)
  )
  const loose = Effect.filterOrElse(
    token,
    (tokens) => !TokenSet.isBound(tokens),
    (tokens) => Effect.as(Effect.filterOrFail(isLoose, (isLoose) => isLoose, () => boundToken), tokens)
  )
  const ownToken = (session: Session.Session) =>
    own === undefined
      ? Session.currentToken(session)
      : Session.tokenFor(session, Selection.refine(session.current, own))

  return AuthManager.of({
    key,
    login,
    logout: Effect.withSpan(kept.remove({ revoke: true }), "AuthManager.logout"),
    whoami: Effect.flatMap(kept.session, (session) => {
      if (Option.isNone(session)) return Effect.succeedNone
      return Option.isSome(session.value.user) ? Effect.succeed(session.value.user) : Effect.asSome(refreshUser)
    }),
    refreshUser,
    validate: (candidate) =>
      credentialsOf(AuthStrategy.token(candidate).obtain(context())).pipe(
        Effect.map((session) => TokenValidation.cases.Valid.make({ user: session.user })),
        Effect.catchTag("InvalidCredentials", (error) =>
          Effect.succeed(TokenValidation.cases.Invalid.make({ reason: error.detail })))
      ),
    token,
    accessToken: Effect.map(loose, ({ accessToken }) => accessToken),
    bearer: Effect.map(loose, TokenSet.authorization),
    bearerToken,
    bearerTokenFor: (selection) => kept.bearerFor(selected(selection)),
    claims: Effect.flatMap(token, (tokens) => Effect.fromResult(claimsOf(tokens))),
    tokenFor: (selection) => kept.tokenFor(selected(selection)),
    refresh: (selection) =>
      selection === undefined
        ? kept.renew(own, { makesCurrent: false })
        : kept.renew(selected(selection)),
    present: iam.present,
    challenged: iam.challenged ??
      ((_bearer, { status }) => Effect.succeed(status === 401 ? "rejected" : "no")),
    rejected: (bearer, selection) =>
      kept.rejected(bearer, own === undefined && selection === undefined ? undefined : selected(selection)),
    session: kept.session,
    changes: kept.changes,
    isAuthenticated: kept.isAlive,
    export: Effect.flatMap(currentSession, (session) => {
      const { encode } = iam.document
      const unsupported = session.proofKey === undefined
        ? iam.document.unsupported
        : "the session is bound to a key that does not travel: sign in where it is needed"
      return unsupported === undefined
        ? Effect.succeed(encode(session))
        : Effect.fail(
          new IamError({ issuer: iam.issuer, method: "export", reason: new Unsupported({ detail: unsupported }) })
        )
    }),
    import: Effect.fn("AuthManager.import")(function*(document, options) {
      const imported = yield* iam.document.decode(document)
      const session = Session.fromResponse(key, imported, {
        strategy: "import",
        selection: imported.selection,
        durable: options?.store !== false
      })
      return yield* kept.replace(session, { isImport: true })
    }),
    storedToken: Effect.map(
      storage.get(key),
      (session) => Option.map(Option.flatMap(session, ownToken), (tokens) => tokens.accessToken)
    ),
    storeToken: Effect.fn("AuthManager.storeToken")(function*(given) {
      if (Redacted.value(given).trim() === "") {
        return yield* new InvalidCredentials({ key, detail: "the token is empty" })
      }
      const issued = yield* credentialsOf(iam.adopt(given))
      yield* kept.replace(
        Session.fromResponse(key, issued, { strategy: "token", selection: own ?? Selection.none })
      )
    }),
    clearStoredToken: Effect.asVoid(kept.remove({ revoke: false }))
  })
})

/**
 * The manager of one account, `default` unless told.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: { readonly account?: string }
): Layer.Layer<AuthManager, never, IamClient | TokenStorage | SessionLock | SessionKeeper.SessionKeeper> =>
  Layer.effect(AuthManager, make(options))

// All callers share the claims of a token.
const frozen = (claims: JwtCodec.Decoded["claims"]): JwtCodec.Decoded["claims"] => {
  const values: Array<object> = [claims]
  for (const value of values) {
    for (const member of Object.values(Object.freeze(value))) if (Predicate.isObjectOrArray(member)) values.push(member)
  }
  return claims
}
