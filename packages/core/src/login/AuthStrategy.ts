/**
 * Ways to obtain a session.
 *
 * @since 0.1.0
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Struct from "effect/Struct"
import { type AuthError, InvalidCredentials, NoCredentials } from "../AuthError.ts"
import { Credentials, type IamClient } from "../iam/IamClient.ts"
import type { IamError } from "../iam/IamError.ts"
import * as Selection from "../session/Selection.ts"
import { ending } from "../session/Session.ts"
import * as Session from "../session/Session.ts"
import type * as SessionKey from "../session/SessionKey.ts"
import type { TokenStorage } from "../storage/TokenStorage.ts"

/**
 * What a strategy works with: which session is wanted, for which selection, the IAM, and what is stored already.
 *
 * @category models
 * @since 0.1.0
 */
export interface StrategyContext {
  readonly key: SessionKey.SessionKey
  readonly selection: Selection.Selection
  readonly iam: IamClient["Service"]
  readonly storage: TokenStorage["Service"]
  /** What else the IAM's layer has to sign in with, without a person: `Unattended`. */
  readonly unattended?: ReadonlyArray<AuthStrategy> | undefined
}

/**
 * One way to obtain a session, as a value: a program's own strategy is as good as these.
 *
 * `obtain` fails with `NoCredentials` when it has nothing to try, so that a combination moves on; any other failure ends
 * the login. It writes nothing. `R` is what it needs beside its context: a missing service is a compile error.
 *
 * `interactive` (default false) says that a person takes part. Such logins of one session are made one after another
 * among all programs that share the storage, and those who waited take the session that the first one made. `unattended`
 * is what of it needs no person and comes first: it is tried before anybody waits for their turn.
 *
 * @category models
 * @since 0.1.0
 */
export interface AuthStrategy<out R = never, out E extends AuthError = AuthError> {
  readonly name: string
  readonly interactive?: boolean
  readonly unattended?: AuthStrategy<R>
  readonly obtain: (context: StrategyContext) => Effect.Effect<Session.Session, E, R>
}

/**
 * The services that a strategy needs: of a union of strategies, the union of what they need.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<Strategy> = Strategy extends AuthStrategy<infer R> ? R : never

/**
 * The failure of a strategy that has nothing to try, with the reason in a few words.
 *
 * **When to use**
 *
 * Use when a strategy of your own has nothing to offer here. `firstOf` moves on to the next one; any other failure ends
 * the login.
 *
 * **Example** (A strategy of your own)
 *
 * ```ts
 * import { AuthStrategy } from "@effect-authn/core"
 * import { Effect, FileSystem, Redacted } from "effect"
 *
 * export const tokenFile = (path: string): AuthStrategy.AuthStrategy<FileSystem.FileSystem> => ({
 *   name: "token file",
 *   obtain: Effect.fnUntraced(function*(context) {
 *     const fs = yield* FileSystem.FileSystem
 *     const text = yield* Effect.mapError(
 *       fs.readFileString(path),
 *       () => AuthStrategy.noCredentials(context, "token file", `${path} cannot be read`)
 *     )
 *     return yield* AuthStrategy.token(Redacted.make(text.trim())).obtain(context)
 *   })
 * })
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export const noCredentials = (context: StrategyContext, strategy: string, reason: string): NoCredentials =>
  new NoCredentials({ key: context.key, tried: [{ strategy, reason }] })

/**
 * Signs in with a handle (or whatever the IAM calls a name) and a password. `organization` and `project` narrow the
 * selection of the login.
 *
 * **When to use**
 *
 * Use at an IAM with a password route. OpenID providers have none: use `InteractiveStrategy.interactive`.
 *
 * **Gotchas**
 *
 * It is sent once, whatever the IAM answers: a second try could lock the account.
 *
 * **Example** (Signing in to an organization)
 *
 * ```ts
 * import { AuthManager, AuthStrategy } from "@effect-authn/core"
 * import { Config, Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   const password = yield* Config.Redacted("IAM_PASSWORD")
 *   return yield* auth.login(AuthStrategy.password({ handle: "ada", password, organization: "acme" }))
 * })
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const password = (options: {
  readonly handle: string
  readonly password: Redacted.Redacted
  readonly organization?: string
  readonly project?: string
}): AuthStrategy => ({
  name: "password",
  obtain: Effect.fnUntraced(function*(context) {
    if (options.handle === "" || Redacted.value(options.password) === "") {
      const missing = options.handle === "" ? "handle" : "password"
      return yield* new InvalidCredentials({ key: context.key, detail: `the ${missing} is empty` })
    }
    const selection = Selection.make(Struct.assign(context.selection, {
      ...(options.organization === undefined ? {} : { organization: options.organization }),
      ...(options.project === undefined ? {} : { project: options.project })
    }))
    const credentials = Credentials.cases.Password.make({ handle: options.handle, password: options.password })
    const { handle } = options
    const issued = yield* Effect.catchReason(
      context.iam.login(credentials, selection),
      "IamError",
      "CredentialsRefused",
      ({ detail }) => Effect.fail(new InvalidCredentials({ key: context.key, handle, detail }))
    )
    const session = Session.fromResponse(context.key, issued, { strategy: "password", selection })
    // The password was accepted: not to know the name yet is no reason to throw the session away.
    return yield* Effect.orElseSucceed(withUser(context, session), () => session)
  })
})

/**
 * Presents a token that was obtained elsewhere. It is checked by asking the IAM whose it is, and stored as it was given.
 *
 * **Example** (Signing in with a token of another program)
 *
 * ```ts
 * import { AuthManager, AuthStrategy } from "@effect-authn/core"
 * import { Effect, Redacted } from "effect"
 *
 * export const login = (accessToken: string) =>
 *   Effect.gen(function*() {
 *     const auth = yield* AuthManager.AuthManager
 *     const session = yield* auth.login(AuthStrategy.token(Redacted.make(accessToken)), { store: false })
 *     return session.user
 *   })
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const token = (accessToken: Redacted.Redacted): AuthStrategy<never, IamError | InvalidCredentials> => ({
  name: "token",
  obtain: (context) =>
    Redacted.value(accessToken).trim() === ""
      ? Effect.fail(new InvalidCredentials({ key: context.key, detail: "the token is empty" }))
      : presented(context, accessToken, "token")
})

/**
 * Presents the token that the first of the IAM's environment variables holds, through the program's `ConfigProvider`. It
 * is never stored, exchanged or revoked.
 *
 * **When to use**
 *
 * Use for jobs of continuous integration, which get a token from their runner. `IamClient.environment` names the variables.
 *
 * **Example** (A token of the environment, else the stored session)
 *
 * ```ts
 * import { AuthManager, AuthStrategy } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * // This is also what `login()` does without a strategy.
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(AuthStrategy.firstOf(AuthStrategy.environment(), AuthStrategy.stored()))
 * })
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const environment = (): AuthStrategy => ({
  name: "environment",
  obtain: Effect.fnUntraced(function*(context) {
    const names = context.iam.environment
    // `Config` would be in every page, for one text.
    const provider = yield* ConfigProvider.ConfigProvider
    for (const name of names) {
      const node = yield* Effect.mapError(
        provider.load([name]),
        (error) => new InvalidCredentials({ key: context.key, detail: `${name} cannot be read: ${error.message}` })
      )
      const value = node?.value ?? ""
      if (value.trim() === "") continue
      const session = yield* presented(context, Redacted.make(value), "environment").pipe(
        Effect.catchReason(
          "IamError",
          "CredentialsRefused",
          ({ detail }) =>
            Effect.fail(new InvalidCredentials({ key: context.key, detail: `the token in ${name}: ${detail}` }))
        )
      )
      return Session.update(session, { durable: false, grant: { _tag: "None" } })
    }
    return yield* noCredentials(
      context,
      "environment",
      names.length === 0
        ? "this IAM names no variables"
        : `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} not set`
    )
  })
})

/**
 * Takes up the session of an earlier login, if it can still produce a token. It sends nothing.
 *
 * **Example** (Going on only where somebody is signed in)
 *
 * ```ts
 * import { AuthManager, AuthStrategy } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * export const isSignedIn = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(AuthStrategy.stored()).pipe(
 *     Effect.as(true),
 *     Effect.catchTag("NoCredentials", () => Effect.succeed(false))
 *   )
 * })
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const stored = (): AuthStrategy => ({
  name: "stored",
  obtain: Effect.fnUntraced(function*(context) {
    const { description } = context.storage
    const session = yield* Effect.catchReason(
      context.storage.get(context.key),
      "TokenStorageError",
      "StorageCorrupt",
      (reason) => Effect.fail(noCredentials(context, "stored", reason.message))
    )
    if (Option.isNone(session)) return yield* noCredentials(context, "stored", `no session in ${description}`)
    const now = yield* DateTime.now
    if (!Session.isAlive(session.value, now)) {
      const { detail } = ending(session.value, now)
      return yield* noCredentials(context, "stored", `the session in ${description} ended: ${detail}`)
    }
    return session.value
  })
})

/**
 * Tries strategies in order and takes the first that has something to try. If none has, `NoCredentials` lists each with
 * its reason.
 *
 * **Details**
 *
 * It asks for the services that all of them need. What comes before the first strategy with a person is tried before
 * anybody waits for their turn.
 *
 * **Gotchas**
 *
 * Only `NoCredentials` moves on. A password that is refused, or an IAM that is down, ends the login.
 *
 * **Example** (The stored session, else a person)
 *
 * ```ts
 * import { AuthManager, AuthStrategy, InteractiveStrategy } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(AuthStrategy.firstOf(AuthStrategy.stored(), InteractiveStrategy.interactive()))
 * })
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const firstOf = <Services extends ReadonlyArray<unknown>>(
  ...strategies: { readonly [I in keyof Services]: AuthStrategy<Services[I]> }
): AuthStrategy<Services[number]> => firstOfWith({ onSkipped: () => Effect.void })(...strategies)

/**
 * `firstOf` with something to do between two strategies: `onSkipped` runs when a strategy had nothing to try, with why it
 * had nothing and with the strategy that is tried next.
 *
 * **Example** (Saying why a strategy was skipped)
 *
 * ```ts
 * import { AuthStrategy, InteractiveStrategy } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * export const strategy = AuthStrategy.firstOfWith({
 *   onSkipped: (skipped, next) => Effect.logInfo(`${skipped.message}; trying ${next.name}`)
 * })(AuthStrategy.stored(), InteractiveStrategy.device())
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const firstOfWith = <R>(options: {
  readonly onSkipped: (skipped: NoCredentials, next: AuthStrategy<unknown>) => Effect.Effect<void, AuthError, R>
}) =>
<Services extends ReadonlyArray<unknown>>(
  ...strategies: { readonly [I in keyof Services]: AuthStrategy<Services[I]> }
): AuthStrategy<R | Services[number]> => combined(strategies, options.onSkipped)

const combined = <R>(
  strategies: ReadonlyArray<AuthStrategy<R>>,
  onSkipped: (skipped: NoCredentials, next: AuthStrategy<unknown>) => Effect.Effect<void, AuthError, R>
): AuthStrategy<R> => {
  const person = strategies.findIndex((strategy) => strategy.interactive === true)
  return {
    name: strategies.map((strategy) => strategy.name).join(", "),
    interactive: person >= 0,
    ...(person > 0 ? { unattended: combined(strategies.slice(0, person), onSkipped) } : {}),
    obtain: Effect.fnUntraced(function*(context) {
      const tried: Array<NoCredentials["tried"][number]> = []
      for (const [index, strategy] of strategies.entries()) {
        const obtained = yield* Effect.result(strategy.obtain(context))
        if (Result.isSuccess(obtained)) return obtained.success
        if (obtained.failure._tag !== "NoCredentials") return yield* obtained.failure
        tried.push(...obtained.failure.tried)
        const next = strategies[index + 1]
        if (next !== undefined) yield* onSkipped(obtained.failure, next)
      }
      return yield* new NoCredentials({ key: context.key, tried })
    })
  }
}

/**
 * What else can sign this IAM's clients in without a person, in order, as its layer has it: the platform that runs the
 * program, where the IAM's options name an audience for it. `login()` and `chain` try them after the stored session.
 *
 * @category references
 * @since 0.1.0
 */
export const Unattended = Context.Reference<ReadonlyArray<AuthStrategy>>(
  "@effect-authn/core/login/AuthStrategy/Unattended",
  { defaultValue: () => [] }
)

/**
 * Every usual way to sign in, in order: the IAM's environment variables, the stored session, `unattended` ways (the platform
 * that runs the program), and then `people`.
 *
 * **Details**
 *
 * What signed in without a person is remembered, in memory and for each session: the next login asks it first. A way that is
 * there and broken ends the login; only one that has nothing to try is passed over. `NoCredentials` says of each why.
 *
 * **Example** (A tool that runs on laptops and in jobs)
 *
 * ```ts
 * import { AuthManager, AuthStrategy, InteractiveStrategy } from "@effect-authn/core"
 * import { Effect } from "effect"
 *
 * const ways = AuthStrategy.chain({ people: InteractiveStrategy.interactive() })
 *
 * export const login = Effect.flatMap(AuthManager.AuthManager, (auth) => auth.login(ways))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const chain = <R = never, P = never>(options?: {
  readonly unattended?: ReadonlyArray<AuthStrategy<R>> | undefined
  readonly people?: AuthStrategy<P> | undefined
}): AuthStrategy<R | P> => {
  const winners = new WeakMap<StrategyContext["iam"], Map<string, AuthStrategy<R | P>>>()
  const own: ReadonlyArray<AuthStrategy<R | P>> = [environment(), stored()]

  const alone: AuthStrategy<R | P> = {
    name: "environment, stored, unattended",
    obtain: Effect.fnUntraced(function*(context) {
      const known = winners.get(context.iam) ?? new Map<string, AuthStrategy<R | P>>()
      winners.set(context.iam, known)
      const { key: { id } } = context
      const members = [...own, ...context.unattended ?? [], ...options?.unattended ?? []]
      const winner = known.get(id)
      const tried: Array<NoCredentials["tried"][number]> = []
      for (
        const member of winner === undefined
          ? members
          : [winner, ...members.filter((member) => member !== winner)]
      ) {
        const obtained = yield* Effect.result(member.obtain(context))
        if (Result.isSuccess(obtained)) {
          known.set(id, member)
          return obtained.success
        }
        if (obtained.failure._tag !== "NoCredentials") return yield* obtained.failure
        tried.push(...obtained.failure.tried)
      }
      known.delete(id)
      return yield* new NoCredentials({ key: context.key, tried })
    })
  }
  return options?.people === undefined ? alone : combined<R | P>([alone, options.people], () => Effect.void)
}

/**
 * Gives a strategy the services that it needs.
 *
 * **Example** (A strategy that needs nothing any more)
 *
 * ```ts
 * import { AuthStrategy, InteractiveStrategy, LoginPrompt } from "@effect-authn/core"
 * import { Context, Effect } from "effect"
 *
 * const prompt = LoginPrompt.LoginPrompt.of({
 *   obstacle: Effect.succeedNone,
 *   show: (notice) => Effect.logInfo(LoginPrompt.text(notice)),
 *   ask: () => Effect.succeedNone
 * })
 *
 * // What is left to provide is `DeviceLogin`, which the dialect's layer brings.
 * export const strategy = AuthStrategy.provide(
 *   InteractiveStrategy.device(),
 *   Context.make(LoginPrompt.LoginPrompt, prompt)
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const provide = <R, Provided>(
  strategy: AuthStrategy<R>,
  services: Context.Context<Provided>
): AuthStrategy<Exclude<R, Provided>> => ({
  name: strategy.name,
  interactive: strategy.interactive === true,
  ...(strategy.unattended === undefined ? {} : { unattended: provide(strategy.unattended, services) }),
  obtain: (context) => Effect.provideContext(strategy.obtain(context), services)
})

/** A session around a token that somebody else obtained. */
const presented = Effect.fnUntraced(function*(
  context: StrategyContext,
  accessToken: Redacted.Redacted,
  strategy: string
): Effect.fn.Return<Session.Session, IamError> {
  const issued = yield* context.iam.adopt(accessToken)
  const session = Session.fromResponse(context.key, issued, { strategy, selection: context.selection })
  return yield* withUser(context, session)
})

const withUser = (context: StrategyContext, session: Session.Session): Effect.Effect<Session.Session, IamError> =>
  Option.isSome(session.user)
    ? Effect.succeed(session)
    : context.iam.whoami(session).pipe(
      Effect.map((user) => Session.update(session, { user: Option.some(user) })),
      // Some IAMs have no way to tell: then the session goes without.
      Effect.catchReason("IamError", "Unsupported", () => Effect.succeed(session))
    )
