// A program with the storage that the policy chooses. It does what it is told and says, as a line of JSON for each, what
// came of it and how long that took; then it stays, or ends without cleaning up.
import type * as Session from "@effect-authn/core/session/Session"
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as NodeStorage from "@effect-authn/platform-node/NodeStorage"
import * as KeychainKeySource from "@effect-authn/storage-keyring/KeychainKeySource"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import { key, sessionOf } from "./fixture.ts"

const [directory, ...orders] = process.argv.slice(2)

const generationOf = Option.match({ onNone: () => 0, onSome: (session: Session.Session) => session.generation })

const act: Record<
  string,
  Effect.Effect<
    unknown,
    { readonly message: string },
    TokenStorage.TokenStorage | StoragePolicy.StoragePolicy
  >
> = {
  choose: Effect.flatMap(StoragePolicy.StoragePolicy, (policy) => policy.choice),
  get: Effect.map(Effect.flatMap(TokenStorage.TokenStorage, (_) => _.get(key)), generationOf),
  put: Effect.gen(function*() {
    const storage = yield* TokenStorage.TokenStorage
    const generation = generationOf(yield* storage.get(key))
    yield* storage.put(key, sessionOf(generation + 1), generation)
    return generation + 1
  }),
  // until somebody kills the daemon, say
  wait: Effect.promise(async () => {
    while (!Fs.existsSync(`${directory}/go`)) await new Promise((resolve) => setTimeout(resolve, 5))
  }),
  stay: Effect.never
}

const runtime = ManagedRuntime.make(NodeStorage.layer({ directory: directory!, keychain: KeychainKeySource.layer }))

for (const order of orders) {
  const began = performance.now()
  const outcome = await runtime.runPromise(
    Effect.match(act[order]!, {
      onFailure: (error) => ({ error: error.message }),
      onSuccess: (value) => ({ value })
    })
  )
  Fs.writeSync(1, `${JSON.stringify({ order, ...outcome, millis: Math.round(performance.now() - began) })}\n`)
}
