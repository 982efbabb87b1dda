import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { fileOf, login, simulated, storedToken } from "./authn.ts"

describe("a token that is bound to a key", () => {
  it.live("is handed to no program, by no command, and is not shown: without a proof it is worth nothing", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const file = fileOf(home)
        const token = storedToken(home)
        const jwk = { kty: "EC", crv: "P-256", x: "x", y: "y", d: "canary-of-the-key" }
        // one that DPoP names, in both versions of the document: a program of before may have left the first
        for (const version of [1, 2]) {
          const { session } = JSON.parse(fs.readFileSync(file, "utf8"))
          for (const held of Object.values<{ tokenType: string }>(session.tokens)) held.tokenType = "DPoP"
          const proofKey = version === 2 ? { proofKey: { _tag: "Enclosed", jwk } } : {}
          fs.writeFileSync(file, JSON.stringify({ version, session: { ...session, ...proofKey } }))
          for (
            const args of [
              ["token"],
              ["token", "--header"],
              ["token", "--json"],
              ["token", "--account", "default"],
              ["exec", "--", process.execPath, "-e", "process.exit(0)"],
              ["credential", "kubectl"],
              ["credential", "process"]
            ]
          ) {
            // as it is shipped, so that the short way is tried as well
            const ended = yield* home.spawn(args)
            assert.strictEqual(ended.code, 1, `${args.join(" ")}, version ${version}: ${ended.stderr}`)
            assert.include(ended.stderr, "bound to a key")
            assert.notInclude(ended.stdout + ended.stderr, token)
            assert.notInclude(ended.stdout + ended.stderr, "canary-of-the-key")
          }
          const git = yield* home.spawn(["credential", "git", "--host", "git.example.com", "get"], {
            input: "protocol=https\nhost=git.example.com\n\n"
          })
          assert.notInclude(git.stdout, token)
          yield* home.run(["accounts", "host", "add", "registry.example.com"])
          const docker = yield* home.spawn(["credential", "docker", "get"], { input: "registry.example.com\n" })
          assert.include(docker.stdout, "bound to a key")
          assert.notInclude(docker.stdout, token)
        }
      })))
})
