// Says where its session lives, and moves it there from plain files. Run it with DATALAYER_IAM_URL set.
import { AuthManager, AuthStrategy, StoragePolicy } from "@effect-authn/core"
import { DatalayerIam, DatalayerForeignSessions } from "@effect-authn/iam-datalayer"
import { NodeAuth, NodeStorage } from "@effect-authn/platform-node"
import { Keychain, KeychainKeySource } from "@effect-authn/storage-keyring"
import { NodeFileSystem, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"

const storage = NodeStorage.layer({ keychain: KeychainKeySource.layer })

/** Takes over, after asking, the token that another client of this IAM left on this machine. */
const takeOver = Effect.fn("takeOver")(function*(isWanted: (place: string) => Effect.Effect<boolean>) {
  const auth = yield* AuthManager.AuthManager
  const keychain = yield* Keychain.Keychain
  const found = yield* DatalayerForeignSessions.find({ issuer: auth.key.issuer, keychain: keychain.get })
  for (const { place, token } of found) {
    if (yield* isWanted(place)) return yield* auth.login(AuthStrategy.token(token))
  }
  return yield* auth.login()
})

const program = Effect.gen(function*() {
  const policy = yield* StoragePolicy.StoragePolicy
  const { message, place } = yield* policy.choice
  yield* Console.error(message)
  if (place === "keyring") {
    yield* NodeStorage.migrate({ from: "plain-file", to: "keyring", keychain: KeychainKeySource.layer })
  }
  yield* takeOver((place) => Effect.as(Console.error(`found a token in ${place}, and left it there`), false))
})

program.pipe(
  Effect.provide(Layer.mergeAll(
    NodeAuth.layer(DatalayerIam.layerConfig(), { storage }),
    storage,
    Keychain.layer(),
    NodeFileSystem.layer
  )),
  NodeRuntime.runMain
)
