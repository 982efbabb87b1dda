// Moves the sessions from plain files to encrypted ones, and dies before the nth call of the file system.
import * as EncryptedTokenStorage from "@effect-authn/core/storage/EncryptedTokenStorage"
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mortal } from "./mortal.ts"

const [directory, point] = process.argv.slice(2)

const filesIn = (name: string) => FileTokenStorage.layerNoDeps({ directory: `${directory}/${name}` })

await StoragePolicy.migrate({
  from: filesIn("sessions"),
  to: EncryptedTokenStorage.layer(filesIn("encrypted")).pipe(Layer.provide(EncryptionKeys.layerEnvironment()))
}).pipe(
  Effect.provide(mortal(Number(point))),
  Effect.runPromise
)
