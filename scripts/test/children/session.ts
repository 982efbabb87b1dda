// One program for every runtime: `session.ts ISSUER DIRECTORY COMMAND …`. It prints one line of JSON, and ends by itself.
import { AuthManager, AuthStrategy, type TokenSet } from "@effect-authn/core"
import { GenomcoreIam } from "@effect-authn/iam-genomcore"
import { FileTokenStorage, NodeAuth } from "@effect-authn/platform-node"
import { Keychain } from "@effect-authn/storage-keyring"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Redacted } from "effect"
import { HttpClient } from "effect/http"

const [, , issuer = "", directory = "", command = "", argument = ""] = process.argv

const tokenOf = (tokens: TokenSet.TokenSet) => Redacted.value(tokens.accessToken)

const commands: Record<
  string,
  Effect.Effect<unknown, unknown, AuthManager.AuthManager | HttpClient.HttpClient>
> = {
  login: Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    const password = Redacted.make("correct-horse-battery")
    yield* auth.login(AuthStrategy.password({ handle: "ada", password, organization: "acme" }))
    return tokenOf(yield* auth.token)
  }),
  // as many callers at once as the argument says
  ask: Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    const callers = Array.from({ length: Number(argument) }, () => auth.token)
    return (yield* Effect.all(callers, { concurrency: "unbounded" })).map(tokenOf)
  }),
  logout: Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    yield* auth.logout
    return yield* auth.isAuthenticated
  }),
  get: Effect.map(HttpClient.get(argument), ({ status }) => status),
  keychain: Effect.gen(function*() {
    const keychain = yield* Keychain.Keychain
    return (yield* Effect.flip(keychain.available))._tag
  }).pipe(Effect.provide(Keychain.layer()))
}

const program = Effect.flatMap(commands[command]!, (answer) => Console.log(JSON.stringify(answer)))

program.pipe(
  Effect.provide(
    NodeAuth.layer(GenomcoreIam.layer({ host: issuer }), { storage: FileTokenStorage.layer({ directory }) })
  ),
  NodeRuntime.runMain
)
