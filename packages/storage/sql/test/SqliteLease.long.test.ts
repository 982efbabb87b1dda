import { NodeSqlite } from "@effect-authn/platform-node"
import { SqlTokenStorage } from "@effect-authn/storage-sql"
import * as LeaseSuite from "@effect-authn/testing/LeaseSuite"
import { afterAll } from "@effect/vitest"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-sqlite-"))
afterAll(() => Fs.rmSync(directory, { recursive: true, force: true }))

LeaseSuite.suite("SQLite", (lease) =>
  SqlTokenStorage.layer({ lease }).pipe(
    Layer.provide(NodeSqlite.layer({ filename: Path.join(directory, "lease.sqlite") }))
  ))
