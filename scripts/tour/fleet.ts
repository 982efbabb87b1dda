// The last part: programs that share one session through a database, as machines do.
import { PostgresServer } from "@effect-authn/testing"
import { Effect, Stream } from "effect"
import { ChildProcess } from "effect/process"
import * as path from "node:path"
import * as Simulator from "./simulator.ts"
import * as Stage from "./stage.ts"

const { claim, say, step } = Stage

const machine = Effect.fnUntraced(function*(issuer: string, database: string) {
  const script = path.join(import.meta.dirname, "machine.ts")
  const child = yield* ChildProcess.make(process.execPath, [script, issuer, database], { stderr: "ignore" })
  return (yield* Stream.mkString(Stream.decodeText(child.stdout))).trim()
}, Effect.scoped)

const play = Effect.fn(function*(issuer: string, database: string) {
  const logins = Simulator.count(issuer, "login")
  const refreshes = Simulator.count(issuer, "refresh")
  const before = yield* logins
  yield* Simulator.setTokenLifetime(issuer, "1 second")
  const first = yield* machine(issuer, database)
  yield* claim("one process signs in", (yield* logins) === before + 1 && first !== "", "ledger")
  yield* Effect.sleep("1200 millis")
  yield* Simulator.setTokenLifetime(issuer, "1 minute")
  const seen = yield* refreshes
  const tokens = yield* Effect.all([machine(issuer, database), machine(issuer, database)], { concurrency: 2 })
  const requests = (yield* refreshes) - seen
  yield* claim(
    "two others find its token expired, and get the same new one",
    tokens[0] !== "" && tokens[0] !== first && tokens[0] === tokens[1]
  )
  yield* claim(
    "the IAM saw one request of them, and no login",
    requests === 1 && (yield* logins) === before + 1,
    `${requests} on the ledger`
  )
})

export const tour = Effect.fn(function*(issuer: string, directory: string) {
  yield* step("Three processes, one session, one SQLite file")
  yield* play(issuer, path.join(directory, "shared", "sessions.sqlite"))
  yield* step("The same on PostgreSQL, as on several machines")
  if (!PostgresServer.isThere) return yield* say(Stage.dim("left out: there is no PostgreSQL on this machine"))
  const server = yield* PostgresServer.make()
  yield* play(issuer, server.url())
}, Effect.scoped)
