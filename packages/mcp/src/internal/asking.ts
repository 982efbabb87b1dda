/** How a person is asked: after another program's sign-in, where a page is in front of them, behind a page that tells. */
import { DeviceLogin } from "@effect-authn/core/iam/DeviceLogin"
import type { AuthStrategy, StrategyContext } from "@effect-authn/core/login/AuthStrategy"
import * as Strategy from "@effect-authn/core/login/AuthStrategy"
import { Browser } from "@effect-authn/core/login/Browser"
import { CallbackServer } from "@effect-authn/core/login/CallbackServer"
import * as Session from "@effect-authn/core/session/Session"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as AuthorizationServer from "../AuthorizationServer.ts"
import * as Reason from "./reason.ts"
import type * as Server from "./server.ts"

/** What `newerThan` is called. */
export const elsewhere = "another program's sign-in"

/** The session of another program that has signed in since. */
export const newerThan = (seen: number | undefined): AuthStrategy => ({
  name: elsewhere,
  obtain: Effect.fnUntraced(function*(context: StrategyContext) {
    const session = yield* context.storage.get(context.key)
    const now = yield* DateTime.now
    return Option.isSome(session) && Session.isAlive(session.value, now) && Session.login(session.value) !== seen
      ? session.value
      : yield* Strategy.noCredentials(context, elsewhere, "there was none")
  })
})

/** Has nothing to try where a page would not be in front of the person. */
export const inFront = <R>(strategy: AuthStrategy<R>, server: Reason.Named): AuthStrategy<Browser | R> => ({
  ...strategy,
  obtain: Effect.fnUntraced(function*(context) {
    const obstacle = yield* Browser.use((browser) => browser.obstacle)
    return Option.isSome(obstacle)
      ? yield* Reason.signedOut(server, {
        issuer: context.key.issuer,
        clientId: context.key.clientId,
        detail: `nobody can be asked here: ${obstacle.value}`
      })
      : yield* strategy.obtain(context)
  })
})

export const withDevice = <R>(
  strategy: AuthStrategy<R>,
  login: DeviceLogin["Service"],
  as: AuthorizationServer.AuthorizationServer
): AuthStrategy<R> =>
  as.device_authorization_endpoint === undefined ? strategy : {
    ...strategy,
    obtain: (context) => Effect.provideService(strategy.obtain(context), DeviceLogin, login)
  }

/** On the page with which the first sign-in begins, a person sees who asks for what. */
export const confirming = (
  { as, scopes }: Server.SignIn,
  callbacks: CallbackServer["Service"],
  server: string
): CallbackServer["Service"] =>
  CallbackServer.of({
    open: Effect.map(callbacks.open, (callback) => ({
      ...callback,
      page: ({ url }) =>
        callback.page({
          url,
          confirmation: {
            title: "Sign in to an MCP server?",
            text: "A program on this machine wants to use this server as you. Go on only if you know the server, and " +
              "if you want it to have what it asks for.",
            facts: [
              ["MCP server", server],
              ["You sign in at", new URL(as.issuer).host],
              ["It asks for", scopes.length === 0 ? "whatever the server gives" : scopes.join(", ")]
            ],
            button: "Go on and sign in"
          }
        })
    }))
  })
