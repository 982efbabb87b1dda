import * as PostgresServer from "@effect-authn/testing/PostgresServer"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"

it.live.runIf(PostgresServer.isThere)(
  "a server starts, crashes with its data on the disk, starts again and leaves nothing",
  () =>
    Effect.gen(function*() {
      const directory = yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* PostgresServer.make()
        const url = yield* server.createDatabase("one")
        assert.include(url, `:${server.port}/one`)
        yield* server.psql("CREATE TABLE kept AS SELECT 41 + 1 AS answer", "one")
        yield* server.crash
        const away = yield* Effect.flip(server.psql("SELECT 1"))
        assert.strictEqual(away._tag, "PostgresUnavailable")
        yield* server.start
        assert.strictEqual(yield* server.psql("SELECT answer FROM kept", "one"), "42")
        return yield* server.psql("SHOW data_directory")
      }))
      assert.isFalse(Fs.existsSync(directory))
    })
)
