import { FileTokenStorage } from "@effect-authn/platform-node"
import { TokenStorageSuite } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, FileSystem, Layer } from "effect"

TokenStorageSuite.suite(
  "files",
  Layer.unwrap(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    return FileTokenStorage.layer({ directory: yield* fs.makeTempDirectoryScoped() })
  })).pipe(Layer.provide(NodeFileSystem.layer))
)
