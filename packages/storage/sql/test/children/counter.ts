/** Raises the generation of one session some times, alone under the lock, with the storage that the policy `sqlite` gives. */
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as NodeStorage from "@effect-authn/platform-node/NodeStorage"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { keyOf, plain } from "../samples.ts"

const [directory, times] = process.argv.slice(2)
const key = keyOf("counter")

await Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const { withLock } = yield* SessionLock.SessionLock
  const raise = Effect.gen(function*() {
    const found = yield* storage.get(key)
    const generation = Option.match(found, { onNone: () => 0, onSome: (session) => session.generation })
    yield* storage.put(key, plain(key, generation + 1, "canary-of-the-session"), generation)
  })
  yield* Effect.replicateEffect(withLock(key, "renew")(raise), Number(times))
}).pipe(
  Effect.provide(NodeStorage.layer({ policy: "sqlite", directory, sql: SqlTokenStorage.layer() })),
  Effect.runPromise
)
