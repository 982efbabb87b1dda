// A program of the last part: it shares one session with others through a database, and prints the token that it got.
import { AuthManager, AuthStrategy } from "@effect-authn/core"
import { GenomcoreIam } from "@effect-authn/iam-genomcore"
import { NodeAuth, NodeSqlite } from "@effect-authn/platform-node"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Redacted } from "effect"
import { password } from "./person.ts"

const [host = "", database = ""] = process.argv.slice(2)

const client = database.startsWith("postgres:")
  ? PgClient.layer({ url: Redacted.make(database), maxConnections: 3 })
  : NodeSqlite.layer({ filename: database })

const storage = Layer.provide(SqlTokenStorage.layer(), client)

const program = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const ada = AuthStrategy.password({ handle: "ada", password: Redacted.make(password) })
  yield* auth.login(AuthStrategy.firstOf(AuthStrategy.stored(), ada), { selection: { organization: "acme" } })
  yield* Console.log(Redacted.value((yield* auth.token).accessToken))
})

program.pipe(Effect.provide(NodeAuth.layer(GenomcoreIam.layer({ host }), { storage })), NodeRuntime.runMain)
