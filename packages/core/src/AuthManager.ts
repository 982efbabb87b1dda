/**
 * One account's view of its session: sign in, ask for a token, sign out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { type AuthError, InvalidCredentials, NotAuthenticated, ReauthenticationRequired } from "./AuthError.ts"
import { IamClient, type Revocation } from "./iam/IamClient.ts"
import type { IamError } from "./iam/IamError.ts"
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
 * - `login` obtains a session by a strategy and puts it in the place of the earlier one; without a strategy it takes the
 *   IAM's environment variables, then the stored session. A login that fails leaves the earlier session as it was. When
 *   the new session cannot be stored it fails with `TokenStorageError`, and the session lives on in this program.
 * - `logout` ends the session at the IAM, or says why the IAM was not told, and always here.
 * - `whoami` is `None` only when nobody is signed in; the known user, else the IAM is asked. `refreshUser` always asks.
 * - `validate` asks the IAM about any token and never touches the session.
 * - `token`, `bearer` (the value of an `Authorization` header) and `claims` (unverified; read once for each token, and
 *   frozen) are for the current selection of the session; they use the stored session if there was no login, and renew
 *   what is due.
 * - `tokenFor` is for another selection of the same session, which does not become current.
 * - `refresh` renews now; a selection becomes the current one.
 * - `rejected` tells that an API refused a token of the current selection, or of the one that is named, and answers with
 *   another one, renewed if it must be.
 * - `session` is what is known of the session; `changes` its state, now and whenever it changes.
 * - `isAuthenticated` is whether there is a valid token or a grant that can renew; no request.
 * - `export` writes the session as the plain document of its dialect, which shows the tokens; `import` puts such a
 *   document's session in the place of the earlier one, without a request. The account is this manager's own.
 * - `storedToken`, `storeToken` (which asks nobody) and `clearStoredToken` (which tells nobody) are about the storage.
 *
 * @category services
 * @since 0.1.0
 */
export class AuthManager extends Context.Service<AuthManager, {
  readonly key: SessionKey.SessionKey
  readonly login: <Strategy extends AuthStrategy.AuthStrategy<unknown> | undefined = undefined>(
    strategy?: Strategy,
    options?: LoginOptions
  ) => Effect.Effect<Session.Session, AuthError, AuthStrategy.Services<Strategy>>
  readonly logout: Effect.Effect<Revocation, TokenStorageError | SessionLockError>
  readonly whoami: Effect.Effect<Option.Option<User.User>, AuthError>
  readonly refreshUser: Effect.Effect<User.User, AuthError>
  readonly validate: (token: Redacted.Redacted) => Effect.Effect<TokenValidation, IamError>
  readonly token: Effect.Effect<TokenSet.TokenSet, AuthError>
  readonly bearer: Effect.Effect<Redacted.Redacted, AuthError>
  readonly claims: Effect.Effect<JwtCodec.Decoded["claims"], AuthError>
  readonly tokenFor: (selection: Selection.Input) => Effect.Effect<TokenSet.TokenSet, AuthError>
  readonly refresh: (selection?: Selection.Input) => Effect.Effect<Session.Session, AuthError>
  readonly rejected: (
    tokens: TokenSet.TokenSet,
    selection?: Selection.Input
  ) => Effect.Effect<TokenSet.TokenSet, AuthError>
  /** Puts a token on a request for an API, in the dialect of this IAM (RFC 6750). */
  readonly present: IamClient["Service"]["present"]
  readonly session: Effect.Effect<Option.Option<Session.Session>, TokenStorageError>
  readonly changes: Stream.Stream<SessionState>
  readonly isAuthenticated: Effect.Effect<boolean, TokenStorageError>
  readonly export: Effect.Effect<Schema.JsonObject, NotAuthenticated | TokenStorageError>
  readonly import: (
    document: unknown,
    options?: Pick<LoginOptions, "store">
  ) => Effect.Effect<Session.Session, IamError | TokenStorageError | SessionLockError>
  readonly storedToken: Effect.Effect<Option.Option<Redacted.Redacted>, TokenStorageError>
  readonly storeToken: (token: Redacted.Redacted) => Effect.Effect<void, AuthError>
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
  const key = SessionKey.SessionKey.make({
    issuer: iam.issuer,
    clientId: iam.clientId,
    account: options?.account ?? "default"
  })
  const kept = keeper.open(key)
  const token = keeper.token(kept)
  const environment = AuthStrategy.environment()
  const context = (selection?: Selection.Input): AuthStrategy.StrategyContext => ({
    key,
    selection: Selection.make(selection ?? {}),
    iam,
    storage
  })

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
    const replaced = options?.revokePrevious === true ? yield* keeper.session(kept) : Option.none()
    // A token of the environment is not ours to revoke.
    const previous = Option.filter(replaced, ({ strategy }) => strategy !== environment.name)
    const session = yield* keeper.replace(
      kept,
      options?.store === false ? Session.update(obtained, { durable: false }) : obtained
    )
    if (Option.isSome(previous) && previous.value.generation !== session.generation) {
      yield* Effect.ignore(iam.revoke(previous.value), { log: "Warn" })
    }
    return session
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

  const stored = Effect.orElseSucceed(storage.get(key), () => Option.none<Session.Session>())
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
        ? yield* alive(yield* keeper.session(kept))
        : options?.store === false
        ? Option.none()
        : Option.filter(
          yield* Effect.flatMap(stored, alive),
          // Another login than that of the session that was there before.
          ({ obtainedAt }) => !Option.exists(held, (session) => session.obtainedAt === obtainedAt)
        )
      const wanted = Selection.id(Selection.make(options?.selection ?? {}))
      const shared = Option.filter(
        made,
        ({ current, durable }) => Selection.id(current) === wanted && durable === (options?.store !== false)
      )
      if (Option.isSome(shared)) return finished !== before ? shared.value : yield* keeper.replace(kept, shared.value)
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
      ? obtain(AuthStrategy.firstOf(environment, AuthStrategy.stored()), options)
      : loginBy(strategy, options)
    return Effect.withSpan(logged, "AuthManager.login")
  }

  const askUser = (session: Session.Session) => iam.whoami(session)

  /** Asks the IAM, once more with a renewed token if the IAM refuses the one at hand. */
  const refreshUser = Effect.gen(function*() {
    const tokens = yield* token
    const user = yield* currentSession.pipe(
      Effect.flatMap(askUser),
      Effect.catchReason("IamError", "CredentialsRefused", (refusal) =>
        Effect.gen(function*() {
          const renewed = yield* keeper.renew(kept, { rejected: tokens })
          return yield* Effect.catchReason(askUser(renewed), "IamError", "CredentialsRefused", () =>
            Effect.fail(new ReauthenticationRequired({ key, detail: refusal.detail, answerLost: false })))
        }))
    )
    // That it cannot be kept is no reason not to tell it.
    yield* Effect.ignore(keeper.amend(kept, (session) => Session.update(session, { user: Option.some(user) })), {
      log: "Warn"
    })
    return user
  })

  const currentSession = Effect.flatMap(keeper.session(kept), Effect.fromOption).pipe(
    Effect.catchTag("NoSuchElementError", () => Effect.fail(new NotAuthenticated({ key })))
  )

  return AuthManager.of({
    key,
    login,
    logout: keeper.remove(kept, { revoke: true }).pipe(Effect.withSpan("AuthManager.logout")),
    whoami: Effect.flatMap(keeper.session(kept), (session) => {
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
    bearer: Effect.map(token, TokenSet.authorization),
    claims: Effect.flatMap(token, (tokens) => Effect.fromResult(claimsOf(tokens))),
    tokenFor: (selection) => keeper.tokenFor(kept, selection),
    refresh: (selection) => keeper.renew(kept, selection === undefined ? {} : { selection }),
    rejected: (tokens, selection) =>
      Effect.flatMap(
        keeper.renew(kept, { rejected: tokens, ...(selection === undefined ? {} : { selection }) }),
        (session) =>
          selection !== undefined
            ? keeper.tokenFor(kept, selection)
            : Option.match(Session.currentToken(session), { onNone: () => token, onSome: Effect.succeed })
      ),
    present: iam.present,
    session: keeper.session(kept),
    changes: keeper.changes(kept),
    isAuthenticated: keeper.isAlive(kept),
    export: Effect.map(currentSession, iam.document.encode),
    import: Effect.fn("AuthManager.import")(function*(document, options) {
      const imported = yield* iam.document.decode(document)
      const session = Session.fromResponse(key, imported, {
        strategy: "import",
        selection: imported.selection,
        durable: options?.store !== false
      })
      return yield* keeper.replace(kept, session)
    }),
    storedToken: Effect.map(
      storage.get(key),
      (session) => Option.map(Option.flatMap(session, Session.currentToken), (tokens) => tokens.accessToken)
    ),
    storeToken: Effect.fn("AuthManager.storeToken")(function*(given) {
      if (Redacted.value(given).trim() === "") {
        return yield* new InvalidCredentials({ key, detail: "the token is empty" })
      }
      const issued = yield* credentialsOf(iam.adopt(given))
      yield* keeper.replace(
        kept,
        Session.fromResponse(key, issued, { strategy: "token", selection: Selection.none })
      )
    }),
    clearStoredToken: Effect.asVoid(keeper.remove(kept, { revoke: false }))
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
