/**
 * Ways to obtain a session in which a person takes part: at a browser, with a code on another device, by pasting an
 * address. The person is addressed through `LoginPrompt`; nothing here prints.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { type AuthError, InvalidCredentials, LoginTimedOut, type NoCredentials } from "../AuthError.ts"
import { BrowserLogin } from "../iam/BrowserLogin.ts"
import { DeviceLogin } from "../iam/DeviceLogin.ts"
import { IamError, Misconfigured } from "../iam/IamError.ts"
import * as SecureUrl from "../SecureUrl.ts"
import type { TokenResponse } from "../session/Session.ts"
import * as Session from "../session/Session.ts"
import { type AuthStrategy, firstOfWith, noCredentials, provide, type StrategyContext } from "./AuthStrategy.ts"
import { Browser, type BrowserNotOpened } from "./Browser.ts"
import { CallbackServer } from "./CallbackServer.ts"
import * as Pasted from "./internal/pasted.ts"
import { LoginPrompt, Notice } from "./LoginPrompt.ts"

/**
 * - `provider`: which of the IAM's own sign-in providers, where it has several.
 * - `prompt`: how insistent the IAM's page is, in its own words (`login`, `consent`, `select_account`).
 * - `parameters`: what else the page is asked with at this login, such as those of a `StepUpRequired`. Only a browser and
 *   `manual` have a page.
 * - `timeLimit`: how long to wait for the person; five minutes unless told.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly provider?: string | undefined
  readonly prompt?: string | undefined
  readonly parameters?: { readonly [name: string]: string } | undefined
  readonly timeLimit?: Duration.Input | undefined
}

/**
 * Opens the IAM's page in the browser of this machine, by way of a page of its own that one browser only can open, and
 * waits for that browser to come back. When no browser opens, the person is shown the IAM's address. A second browser
 * ends the login in `InvalidCredentials`, a page that is never finished in `LoginTimedOut`.
 *
 * **Example** (Signing in with the browser of this machine)
 *
 * ```ts
 * import { AuthManager, InteractiveStrategy } from "@effect-authn/core"
 * import { NodeLogin } from "@effect-authn/platform-node"
 * import { Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(InteractiveStrategy.browser({ timeLimit: "2 minutes" }))
 * }).pipe(Effect.provide(NodeLogin.layer()))
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const browser = (
  options?: Options
): AuthStrategy<Browser | BrowserLogin | CallbackServer | LoginPrompt> =>
  atBrowser(
    options,
    (_, url, { detail }) =>
      LoginPrompt.use((prompt) => prompt.show(Notice.cases.BrowserNotOpened.make({ url, detail })))
  )

type NotOpened = (
  context: StrategyContext,
  url: string,
  error: BrowserNotOpened
) => Effect.Effect<void, AuthError, LoginPrompt>

const atBrowser = (options: Options | undefined, onNotOpened: NotOpened): AuthStrategy<AtBrowser> => ({
  name: "browser",
  interactive: true,
  obtain: (context) =>
    Effect.scoped(Effect.gen(function*() {
      const login = yield* BrowserLogin
      const prompt = yield* LoginPrompt
      const server = yield* CallbackServer
      const callback = yield* Effect.mapError(server.open, ({ detail }) => noCredentials(context, "browser", detail))
      const { pending, url } = yield* supported(
        context,
        "browser",
        login.begin({ ...begun(context, options), redirectUri: callback.redirectUri })
      )
      if (!/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
        return yield* misconfigured(context, `the IAM's sign-in page is no web page: ${SecureUrl.shown(url)}`)
      }
      const page = yield* callback.page({ url })
      const shared = Effect.mapError(
        page.shared,
        ({ message }) => new InvalidCredentials({ key: context.key, detail: message })
      )
      // A browser that has nothing to ask is back before it is said to have opened.
      const coming = yield* Effect.forkScoped(callback.receive(pending.state), { startImmediately: true })
      yield* prompt.show(Notice.cases.OpenBrowser.make({ url: page.url }))
      yield* Browser.use((browser) => browser.open(page.url)).pipe(
        Effect.catch((error) => Effect.flatMap(page.printed, (url) => onNotOpened(context, url, error)))
      )
      const received = yield* Effect.raceFirst(
        shared,
        within(
          context,
          options,
          Fiber.join(coming),
          "start again; where no browser of this machine can be used, sign in with a device code, or paste the address"
        )
      )
      // The browser is told how it went, and only then whoever asked.
      const completed = yield* Effect.exit(Effect.raceFirst(shared, login.complete(pending, received.url)))
      yield* received.finish(Exit.isSuccess(completed) ? "success" : "failure")
      return sessionFrom(context, yield* completed, "browser")
    }))
})

/**
 * Shows a code that the person enters on any device, and waits for the IAM to say that it was done. Where the IAM has no
 * such flow there is nothing to try.
 *
 * **When to use**
 *
 * Use where no browser is at hand: servers, containers, televisions (RFC 8628).
 *
 * **Example** (Signing in on a server)
 *
 * ```ts
 * import { AuthManager, InteractiveStrategy } from "@effect-authn/core"
 * import { NodeLogin } from "@effect-authn/platform-node"
 * import { Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(InteractiveStrategy.device())
 * }).pipe(Effect.provide(NodeLogin.layer()))
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const device = (): AuthStrategy<DeviceLogin | LoginPrompt> => ({
  name: "device",
  interactive: true,
  obtain: Effect.fnUntraced(function*(context) {
    const login = yield* DeviceLogin
    const code = yield* supported(context, "device", login.begin(context.selection))
    const begunAt = yield* DateTime.now
    yield* LoginPrompt.use((prompt) => prompt.show(Notice.cases.EnterCode.make(code)))
    const timedOut = new LoginTimedOut({
      key: context.key,
      waited: DateTime.distance(begunAt, code.expiresAt),
      advice: "the code has expired; start again for a new one"
    })
    const issued = yield* code.poll.pipe(
      Effect.catchReason("IamError", "GrantDead", () => Effect.fail(timedOut))
    )
    return sessionFrom(context, issued, "device")
  })
})

/**
 * Shows an address that the person opens in any browser, also on another machine, and asks for the address where that
 * browser ends, which this machine cannot receive. Quotes, line breaks and escapes around and in it do no harm; what cannot
 * be it is asked for again, and the login goes on. `redirectUri` is where the browser ends: nothing should listen there, and the
 * IAM has to know it; `http://127.0.0.1:49321/callback` unless told.
 *
 * **When to use**
 *
 * Use where neither a browser nor device codes are at hand, for example in a remote shell at an IAM without device codes.
 *
 * **Example** (Signing in by pasting an address)
 *
 * ```ts
 * import { AuthManager, InteractiveStrategy } from "@effect-authn/core"
 * import { NodeLogin } from "@effect-authn/platform-node"
 * import { Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(InteractiveStrategy.manual({ redirectUri: "http://127.0.0.1:8765/callback" }))
 * }).pipe(Effect.provide(NodeLogin.layer()))
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const manual = (
  options?: Options & { readonly redirectUri?: string | undefined }
): AuthStrategy<BrowserLogin | LoginPrompt> => ({
  name: "manual",
  interactive: true,
  obtain: Effect.fnUntraced(function*(context) {
    const login = yield* BrowserLogin
    const prompt = yield* LoginPrompt
    const obstacle = yield* prompt.obstacle
    if (Option.isSome(obstacle)) return yield* noCredentials(context, "manual", obstacle.value)
    const redirectUri = options?.redirectUri ?? "http://127.0.0.1:49321/callback"
    if (!URL.canParse(redirectUri)) {
      return yield* misconfigured(context, `the redirect URI "${redirectUri}" is not an address: write it whole`)
    }
    const { pending, url } = yield* supported(
      context,
      "manual",
      login.begin({ ...begun(context, options), redirectUri })
    )
    const asked = { redirectUri: pending.redirectUri, url, state: pending.state }
    let notice: Notice = Notice.cases.PasteCallback.make({ url })
    let problem = ""
    for (let left = mostPastes; left > 0; left--) {
      const pasted = yield* within(
        context,
        options,
        prompt.ask(notice),
        "start again, and paste the address where the browser ends"
      )
      if (Option.isNone(pasted)) return yield* noCredentials(context, "manual", "nothing was pasted")
      const address = Pasted.read(Redacted.value(pasted.value), asked)
      if (Result.isSuccess(address)) {
        const completed = yield* Effect.result(login.complete(pending, address.success.callbackUrl))
        if (Result.isSuccess(completed)) return sessionFrom(context, completed.success, "manual")
        // What does not even have our state was refused before anything was sent.
        const { failure } = completed
        if (address.success.isWhole || failure.reason._tag !== "CredentialsRefused") return yield* failure
      }
      problem = Result.isFailure(address) ? address.failure : "it is not all there"
      notice = Notice.cases.PasteAgain.make({ problem })
    }
    return yield* new InvalidCredentials({ key: context.key, detail: `what was pasted cannot be used: ${problem}` })
  })
})

// A person would have left by then: this is a program that pastes.
const mostPastes = 20

/**
 * Chooses: the browser where one can open in front of the person, else a device code where the IAM has them, else a
 * pasted address. A browser that does not open is waited for only where the IAM has no device codes. The person is told
 * which, and why not the one before; if none is possible, `NoCredentials` says why.
 *
 * `DeviceLogin` is used where the dialect has one.
 *
 * **When to use**
 *
 * Use in a program that runs on a laptop today and over SSH tomorrow.
 *
 * **Example** (Whatever way is possible here)
 *
 * ```ts
 * import { AuthManager, InteractiveStrategy } from "@effect-authn/core"
 * import { NodeLogin } from "@effect-authn/platform-node"
 * import { Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   return yield* auth.login(InteractiveStrategy.interactive())
 * }).pipe(Effect.provide(NodeLogin.layer()))
 * ```
 *
 * @category strategies
 * @since 0.1.0
 */
export const interactive = (
  options?: Options & { readonly redirectUri?: string | undefined }
): AuthStrategy<Browser | BrowserLogin | CallbackServer | LoginPrompt> => ({
  name: "interactive",
  interactive: true,
  obtain: Effect.fnUntraced(function*(context): Effect.fn.Return<Session.Session, AuthError, AtBrowser> {
    const codes = Option.map(
      yield* Effect.serviceOption(DeviceLogin),
      (login) => provide(device(), Context.make(DeviceLogin, login))
    )
    const ways: ReadonlyArray<AuthStrategy<AtBrowser>> = [
      inFront(Option.isNone(codes) ? browser(options) : atBrowser(options, skips)),
      ...Option.toArray(codes),
      manual(options)
    ]
    const chosen = firstOfWith({ onSkipped: explain })(...ways)
    return yield* chosen.obtain(context)
  })
})

type AtBrowser = Browser | BrowserLogin | CallbackServer | LoginPrompt

const skips: NotOpened = (context, _, { message }) => Effect.fail(noCredentials(context, "browser", message))

const explain = Effect.fnUntraced(function*({ tried }: NoCredentials, next: AuthStrategy<unknown>) {
  const reason = tried.map(({ reason, strategy }) => `${reason}, so the ${strategy} login does not help`).join("; ")
  yield* LoginPrompt.use((prompt) => prompt.show(Notice.cases.Chosen.make({ strategy: next.name, reason })))
})

/** Has nothing to try where a page that opens would not be in front of the person. */
const inFront = <R>(strategy: AuthStrategy<R>): AuthStrategy<Browser | R> => ({
  ...strategy,
  obtain: Effect.fnUntraced(function*(context) {
    const obstacle = yield* Browser.use((browser) => browser.obstacle)
    if (Option.isSome(obstacle)) return yield* noCredentials(context, strategy.name, obstacle.value)
    return yield* strategy.obtain(context)
  })
})

/** Has nothing to try where the IAM has no such flow. */
const supported = <A>(
  context: StrategyContext,
  strategy: string,
  begin: Effect.Effect<A, IamError>
): Effect.Effect<A, IamError | NoCredentials> =>
  Effect.catchReason(
    begin,
    "IamError",
    "Unsupported",
    ({ detail }) => Effect.fail(noCredentials(context, strategy, detail))
  )

const misconfigured = (context: StrategyContext, detail: string): IamError =>
  new IamError({ issuer: context.iam.issuer, method: "login", reason: new Misconfigured({ detail }) })

const begun = (context: StrategyContext, options: Options | undefined) => ({
  selection: context.selection,
  provider: options?.provider,
  prompt: options?.prompt,
  parameters: options?.parameters
})

/** Waits for the person, but not for ever. */
const within = <A, R>(
  context: StrategyContext,
  options: Options | undefined,
  waiting: Effect.Effect<A, never, R>,
  advice: string
): Effect.Effect<A, LoginTimedOut, R> => {
  const waited = Duration.fromInputUnsafe(options?.timeLimit ?? "5 minutes")
  return Effect.timeoutOrElse(waiting, {
    duration: waited,
    orElse: () => Effect.fail(new LoginTimedOut({ key: context.key, waited, advice }))
  })
}

const sessionFrom = (context: StrategyContext, issued: TokenResponse, strategy: string): Session.Session =>
  Session.fromResponse(context.key, issued, { strategy, selection: context.selection })
