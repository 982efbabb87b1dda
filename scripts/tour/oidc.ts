// The last part: a person at a browser, and at another device, at a certified OpenID provider. A scripted user agent plays
// the person: it follows redirects, types a name and a password, and submits the provider's pages.
import { AuthManager, InteractiveStrategy, LoginPrompt, TokenStorage } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeAuth, NodeCallbackServer } from "@effect-authn/platform-node"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { Effect, Layer, Option } from "effect"
import { FetchHttpClient } from "effect/http"
import * as Stage from "./stage.ts"

const { claim, say, step } = Stage

const person = { login: "ada", password: "any" }

const visit = (url: string) =>
  ScriptedUserAgent.make().visit(url, { answers: person }).pipe(Effect.provide(FetchHttpClient.layer), Effect.orDie)

/** Shows what a person would see, and does what a person would do with a code. */
const prompt = Layer.effect(
  LoginPrompt.LoginPrompt,
  Effect.map(Effect.scope, (scope) =>
    LoginPrompt.LoginPrompt.of({
      obstacle: Effect.succeedNone,
      ask: () => Effect.succeedNone,
      show: Effect.fnUntraced(function*(notice) {
        if (notice._tag !== "EnterCode") return
        yield* say(Stage.dim(`"open ${notice.verificationUri} on any device, and enter ${notice.userCode}"`))
        const url = Option.getOrElse(notice.verificationUriComplete, () => notice.verificationUri)
        yield* Effect.forkIn(visit(url), scope)
      })
    }))
)

const requests = (route: string) =>
  Effect.gen(function*() {
    const { proxy } = yield* OidcProvider.OidcProvider
    return (yield* proxy.ledger).filter((entry) => entry.route === route)
  })

const people = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const { issuer, proxy } = yield* OidcProvider.OidcProvider

  yield* step("Any OpenID provider: sign in with a browser")
  yield* say(`a certified provider is running at ${issuer}`)
  const sessions = yield* Effect.all(
    Array.from({ length: 3 }, () => auth.login(InteractiveStrategy.browser())),
    { concurrency: "unbounded" }
  )
  const handle = Option.flatMap(sessions[0]!.user, (user) => user.handle)
  yield* claim(
    "the person of the browser is signed in",
    Option.contains(handle, "ada"),
    Option.getOrElse(handle, () => "nobody")
  )
  const codes = (yield* requests("token")).filter(({ grant }) => grant === "authorization_code").length
  yield* claim("three logins at once opened one browser", codes === 1, `${codes} code on the ledger`)
  yield* auth.refresh()
  const refreshes = (yield* requests("token")).filter(({ grant }) => grant === "refresh_token").length
  yield* claim("its refresh token was rotated", refreshes === 1, `${refreshes} refresh on the ledger`)
  const revocation = yield* auth.logout
  yield* claim("signing out told the provider", revocation._tag === "Revoked", "RFC 7009")

  yield* step("Sign in with a code on another device")
  yield* proxy.setKnobs({ interval: 1, fail: ["token:html502:1"] })
  const session = yield* auth.login(InteractiveStrategy.device)
  yield* claim("the person of the device is signed in", session.strategy === "device", session.strategy)
  const polls = (yield* requests("token")).filter(({ grant }) => grant?.endsWith("device_code") === true)
  yield* claim(
    "a gateway's error page on the way did not end it",
    polls.some(({ note }) => note === "html502") && polls.at(-1)?.status === 200,
    polls.map(({ status }) => status).join(", ")
  )
})

const dialect = Layer.unwrap(
  Effect.map(
    OidcProvider.OidcProvider,
    ({ issuer, publicClient }) => OidcIam.layer({ issuer, clientId: publicClient.id })
  )
)

export const tour = Effect.scoped(Effect.gen(function*() {
  // What the provider says about not being meant for production is not part of the tour.
  const { info, warn } = console
  console.info = console.warn = () => {}
  yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(console, { info, warn })))
  const provider = yield* Layer.build(OidcProvider.layer())
  yield* people.pipe(
    Effect.provide([
      NodeAuth.layer(Layer.provide(dialect, Layer.succeedContext(provider)), { storage: TokenStorage.layerMemory }),
      NodeCallbackServer.layer(),
      ScriptedUserAgent.layerBrowser(person),
      prompt
    ]),
    Effect.provide(provider)
  )
}))
