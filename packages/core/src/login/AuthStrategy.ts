/**
 * Ways to obtain a session.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Struct from "effect/Struct"
import { type AuthError, InvalidCredentials, NoCredentials } from "../AuthError.ts"
import { Credentials, type IamClient } from "../iam/IamClient.ts"
import type { IamError } from "../iam/IamError.ts"
import * as Selection from "../session/Selection.ts"
import type { TokenResponse } from "../session/Session.ts"
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
 * The failure of a strategy that has nothing to try, with the reason in a few words.
 *
 * @category errors
 * @since 0.1.0
 */
export const nothing = (context: StrategyContext, strategy: string, reason: string): NoCredentials =>
  new NoCredentials({ key: context.key, tried: [{ strategy, reason }] })

/**
 * What the IAM refuses at a login are the credentials of the one who asks.
 *
 * @internal
 */
export const refused = (context: StrategyContext) =>
<A, R>(
  effect: Effect.Effect<A, IamError, R>
): Effect.Effect<A, IamError | InvalidCredentials, R> =>
  Effect.catchReason(
    effect,
    "IamError",
    "CredentialsRefused",
    (reason) => Effect.fail(new InvalidCredentials({ key: context.key, detail: reason.detail }))
  )

/**
 * Signs in with a handle (or whatever the IAM calls a name) and a password. `organization` and `project` narrow the
 * selection of the login.
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
    const issued = yield* refused(context)(context.iam.login(credentials, selection))
    const session = Session.fromResponse(context.key, issued, { strategy: "password", selection })
    // The password was accepted: not to know the name yet is no reason to throw the session away.
    return yield* Effect.orElseSucceed(withUser(context, session), () => session)
  })
})

/**
 * Presents a token that was obtained elsewhere. It is checked by asking the IAM whose it is, and stored as it was given.
 *
 * @category strategies
 * @since 0.1.0
 */
export const token = (accessToken: Redacted.Redacted): AuthStrategy<never, IamError | InvalidCredentials> => ({
  name: "token",
  obtain: (context) => presented(context, accessToken, "token")
})

/**
 * Presents the token that the first of the IAM's environment variables holds, through the program's `ConfigProvider`. It
 * is never stored, exchanged or revoked.
 *
 * @category strategies
 * @since 0.1.0
 */
export const environment: AuthStrategy = {
  name: "environment",
  obtain: Effect.fnUntraced(function*(context) {
    const names = context.iam.environment
    for (const name of names) {
      const value = yield* Config.Redacted(name).pipe(
        Config.option,
        Effect.mapError((error) =>
          new InvalidCredentials({ key: context.key, detail: `${name} cannot be read: ${error.message}` })
        )
      )
      if (Option.isNone(value) || Redacted.value(value.value).trim() === "") continue
      const session = yield* presented(context, value.value, "environment").pipe(
        Effect.catchTag(
          "InvalidCredentials",
          ({ detail, key }) => Effect.fail(new InvalidCredentials({ key, detail: `the token in ${name}: ${detail}` }))
        )
      )
      return Session.update(session, { durable: false, grant: { _tag: "None" } })
    }
    return yield* nothing(
      context,
      "environment",
      names.length === 0
        ? "this IAM names no variables"
        : `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} not set`
    )
  })
}

/**
 * Takes up the session of an earlier login, if it can still produce a token. It sends nothing.
 *
 * @category strategies
 * @since 0.1.0
 */
export const stored: AuthStrategy = {
  name: "stored",
  obtain: Effect.fnUntraced(function*(context) {
    const { description } = context.storage
    const session = yield* Effect.catchReason(
      context.storage.get(context.key),
      "TokenStorageError",
      "StorageCorrupt",
      (reason) => Effect.fail(nothing(context, "stored", reason.message))
    )
    if (Option.isNone(session)) return yield* nothing(context, "stored", `no session in ${description}`)
    const now = yield* DateTime.now
    if (!Session.isAlive(session.value, now)) {
      const { detail } = ending(session.value, now)
      return yield* nothing(context, "stored", `the session in ${description} ended: ${detail}`)
    }
    return session.value
  })
}

/**
 * Tries strategies in order and takes the first that has something to try. If none has, `NoCredentials` lists each with
 * its reason.
 *
 * @category combinators
 * @since 0.1.0
 */
export const firstOf = <R = never>(
  ...strategies: ReadonlyArray<AuthStrategy<R>>
): AuthStrategy<R> => {
  const person = strategies.findIndex((strategy) => strategy.interactive === true)
  return {
    name: strategies.map((strategy) => strategy.name).join(", "),
    interactive: person >= 0,
    ...(person > 0 ? { unattended: firstOf(...strategies.slice(0, person)) } : {}),
    obtain: Effect.fnUntraced(function*(context) {
      const tried: Array<NoCredentials["tried"][number]> = []
      for (const strategy of strategies) {
        const obtained = yield* strategy.obtain(context).pipe(
          Effect.asSome,
          Effect.catchTag("NoCredentials", (error) => {
            tried.push(...error.tried)
            return Effect.succeedNone
          })
        )
        if (Option.isSome(obtained)) return obtained.value
      }
      return yield* new NoCredentials({ key: context.key, tried })
    })
  }
}

/**
 * What a token that somebody else obtained amounts to.
 *
 * @internal
 */
export const adopt = (
  context: StrategyContext,
  accessToken: Redacted.Redacted
): Effect.Effect<TokenResponse, IamError | InvalidCredentials> =>
  Redacted.value(accessToken).trim() === ""
    ? Effect.fail(new InvalidCredentials({ key: context.key, detail: "the token is empty" }))
    : refused(context)(context.iam.adopt(accessToken))

/** A session around a token that somebody else obtained. */
const presented = Effect.fnUntraced(function*(
  context: StrategyContext,
  accessToken: Redacted.Redacted,
  strategy: string
): Effect.fn.Return<Session.Session, IamError | InvalidCredentials> {
  const issued = yield* adopt(context, accessToken)
  const session = Session.fromResponse(context.key, issued, { strategy, selection: context.selection })
  return yield* refused(context)(withUser(context, session))
})

const withUser = (context: StrategyContext, session: Session.Session): Effect.Effect<Session.Session, IamError> =>
  Option.isSome(session.user)
    ? Effect.succeed(session)
    : context.iam.whoami(session).pipe(
      Effect.map((user) => Session.update(session, { user: Option.some(user) })),
      // Some IAMs have no way to tell: then the session goes without.
      Effect.catchReason("IamError", "Unsupported", () => Effect.succeed(session))
    )
