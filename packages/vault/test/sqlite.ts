import { NodeSqlite } from "@effect-authn/platform-node"
import { Effect, Layer } from "effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** A SQLite of a test's own, gone with it. */
export const sqlite = Layer.unwrap(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-vault-"))),
    (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
  ),
  (directory) => Layer.orDie(NodeSqlite.layer({ filename: Path.join(directory, "sessions.sqlite") }))
))
