// The last part: a person at a browser, and at another device, at a certified OpenID provider.
import { type FaultProxy, OidcProvider } from "@effect-authn/testing"
import { Effect, Layer } from "effect"
import { meanwhile, visit } from "./person.ts"
import * as Stage from "./stage.ts"
import type { Terminal } from "./terminal.ts"

const { claim, say, step } = Stage

const people = Effect.fn(function*(
  { authn, authnAtOnce, heard, opened }: Terminal,
  failing: ReadonlyArray<string>
) {
  const { issuer, proxy, publicClient } = yield* OidcProvider.OidcProvider
  const faults = failing.map((route): FaultProxy.Fault => `${route}:503:1`)
  yield* proxy.setKnobs({ fail: faults })
  const asked = (grant: string) =>
    Effect.map(
      proxy.ledger,
      (entries) => entries.filter((entry) => entry.route === "token" && entry.grant?.endsWith(grant) === true)
    )
  const at = ["--dialect", "oidc", "--issuer", issuer, "--client-id", publicClient.id]

  yield* step("Any OpenID provider: sign in with a browser")
  yield* say(Stage.dim(`a certified provider is running at ${issuer}`))
  const before = (yield* opened(0)).length
  const logins = yield* authnAtOnce(["login", "--account", "me", ...at, "--browser"], { times: 3 }).pipe(
    meanwhile(
      Effect.flatMap(opened(before + 1), (urls) => Effect.andThen(Effect.sleep("500 millis"), visit(urls.at(-1)!)))
    )
  )
  yield* claim(
    "the person of the browser is signed in",
    logins.every(({ code }) => code === 0),
    `three times exit code 0`
  )
  const codes = (yield* asked("authorization_code")).length
  const pages = (yield* opened(before + 1)).length - before
  yield* claim("three logins at once opened one browser", codes === 1 && pages === 1, `${codes} code on the ledger`)
  const refreshed = yield* authn(["refresh", "--account", "me"])
  const refreshes = (yield* asked("refresh_token")).length
  yield* claim(
    "its refresh token was rotated",
    refreshed.code === 0 && refreshes === 1,
    `${refreshes} refresh on the ledger`
  )
  const out = yield* authn(["logout", "--account", "me"])
  const revocations = (yield* proxy.ledger).filter(({ route }) => route === "revocation")
  yield* claim(
    "signing out told the provider",
    out.code === 0 && revocations.length > 0 && revocations.every(({ status }) => status === 200),
    `RFC 7009, ${revocations.map(({ status }) => status).join(", ")}`
  )

  yield* step("Sign in with a code on another device")
  yield* proxy.setKnobs({
    interval: 1,
    fail: [...faults.filter((fault) => fault.startsWith("device")), "token:html502:1"]
  })
  const device = yield* authn(["login", "--account", "tv", ...at, "--device"]).pipe(
    meanwhile(Effect.flatMap(heard(/https?:\S+user_code=\S+/), visit))
  )
  yield* claim("the person of the device is signed in", device.code === 0, `exit code ${device.code}`)
  const polls = yield* asked("device_code")
  yield* claim(
    "a gateway's error page on the way did not end it",
    polls.some(({ note }) => note === "html502") && polls.at(-1)?.status === 200,
    polls.map(({ status }) => status).join(", ")
  )
})

export const tour = Effect.fn(function*(terminal: Terminal, failing: ReadonlyArray<string>) {
  const provider = yield* Layer.build(OidcProvider.layer())
  yield* Effect.provide(people(terminal, failing), provider)
}, Effect.scoped)
