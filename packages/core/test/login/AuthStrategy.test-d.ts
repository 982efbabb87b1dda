// What strategies say of the services that they need. The compiler runs this: there is nothing to execute.
// @effect-diagnostics missingEffectContext:off
import {
  type AuthError,
  AuthManager,
  AuthStrategy,
  type Browser,
  type BrowserLogin,
  type CallbackServer,
  DeviceLogin,
  InteractiveStrategy,
  type LoginPrompt,
  type Session
} from "@effect-authn/core"
import { Context, Effect } from "effect"

type AtBrowser = Browser.Browser | BrowserLogin.BrowserLogin | CallbackServer.CallbackServer | LoginPrompt.LoginPrompt
type AtDevice = DeviceLogin.DeviceLogin | LoginPrompt.LoginPrompt
type Login<R> = Effect.Effect<Session.Session, AuthError.AuthError, R>

declare const auth: AuthManager.AuthManager["Service"]
declare const flag: boolean
declare const login: DeviceLogin.DeviceLogin["Service"]
declare const several: ReadonlyArray<AuthStrategy.AuthStrategy<DeviceLogin.DeviceLogin>>

const { browser, device } = InteractiveStrategy
const { environment, firstOf, firstOfWith, provide, stored } = AuthStrategy

// A combination asks for all that its strategies need, and for no more.
firstOf(device(), browser()) satisfies AuthStrategy.AuthStrategy<AtBrowser | AtDevice>
// @ts-expect-error: what the browser needs is missing
firstOf(device(), browser()) satisfies AuthStrategy.AuthStrategy<AtDevice>
// @ts-expect-error: what the device needs is missing
firstOf(browser(), device()) satisfies AuthStrategy.AuthStrategy<AtBrowser>
firstOf(environment(), stored()) satisfies AuthStrategy.AuthStrategy
firstOf() satisfies AuthStrategy.AuthStrategy
firstOf(stored(), firstOf(device(), browser())) satisfies AuthStrategy.AuthStrategy<AtBrowser | AtDevice>
firstOf(...several) satisfies AuthStrategy.AuthStrategy<DeviceLogin.DeviceLogin>
// @ts-expect-error: those of a list need something, too
firstOf(...several) satisfies AuthStrategy.AuthStrategy
// @ts-expect-error: a strategy is called
firstOf(stored)

// So does what happens between two of them.
const onSkipped = () => Effect.asVoid(AuthManager.AuthManager)
firstOfWith({ onSkipped })(stored(), device()) satisfies AuthStrategy.AuthStrategy<AtDevice | AuthManager.AuthManager>
// @ts-expect-error: what onSkipped needs is missing
firstOfWith({ onSkipped })(stored(), device()) satisfies AuthStrategy.AuthStrategy<AtDevice>

// What is provided is asked for no more.
const context = Context.make(DeviceLogin.DeviceLogin, login)
provide(device(), context) satisfies AuthStrategy.AuthStrategy<LoginPrompt.LoginPrompt>
// @ts-expect-error: the prompt was not provided
provide(device(), context) satisfies AuthStrategy.AuthStrategy

// A login asks for what its strategy needs, whichever it is.
const either = flag ? device() : browser()
const logins: ReadonlyArray<Login<never>> = [
  auth.login(),
  auth.login(undefined, { store: false }),
  auth.login(flag ? stored() : undefined),
  auth.login(stored()),
  // @ts-expect-error: what the device needs is missing
  auth.login(device()),
  // @ts-expect-error: a strategy is not its name
  auth.login("browser")
]
const loginOf = <R>(strategy: AuthStrategy.AuthStrategy<R>): Login<R> => auth.login(strategy)
const loginsOfEither: ReadonlyArray<Login<AtBrowser | AtDevice>> = [
  auth.login(either),
  auth.login(firstOf(stored(), either)),
  loginOf(firstOf(either, stored()))
]
// @ts-expect-error: what the browser needs is missing
const withoutBrowser: Login<AtDevice> = auth.login(either)
// @ts-expect-error: what the device needs is missing
const withoutDevice: Login<AtBrowser> = auth.login(either)

export { logins, loginsOfEither, withoutBrowser, withoutDevice }
