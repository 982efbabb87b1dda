import { AuthManager, InteractiveStrategy } from "@effect-authn/core"
import { FileTokenStorage, NodeCallbackServer } from "@effect-authn/platform-node"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { spawn } from "node:child_process"
import { connect } from "node:net"
import { join } from "node:path"
import { answers, oidc, person, program, tokenOf } from "./fixtures.ts"

const isOpen = (port: number) =>
  Effect.callback<boolean>((resume) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy()
      resume(Effect.succeed(true))
    })
    socket.on("error", () => resume(Effect.succeed(false)))
  })

for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
  it.live(
    `${signal} in the middle of a login leaves no port, no session and no lock behind`,
    () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const directory = yield* fs.makeTempDirectoryScoped()
        const { issuer } = yield* OidcProvider.OidcProvider
        const child = yield* Effect.acquireRelease(
          Effect.sync(() =>
            spawn(process.execPath, [join(import.meta.dirname, "children", "signingIn.ts"), directory, issuer], {
              stdio: ["ignore", "pipe", "pipe"]
            })
          ),
          (child) => Effect.sync(() => child.kill("SIGKILL"))
        )
        let stdout = ""
        child.stdout.on("data", (chunk) => stdout += String(chunk))
        const url = yield* Effect.callback<URL>((resume) => {
          let text = ""
          child.stderr.on("data", (chunk) => {
            text += String(chunk)
            const address = /http:\S+(?=\s)/.exec(text)?.[0]
            if (address !== undefined) resume(Effect.succeed(new URL(address)))
          })
        })
        const port = Number(url.port)
        assert.isTrue(yield* isOpen(port))
        const ended = Effect.callback<void>((resume) => {
          child.once("exit", () => resume(Effect.void))
          child.kill(signal)
        })
        yield* ended
        assert.isFalse(yield* isOpen(port))
        assert.strictEqual(stdout, "", "the standard output is the program's own")
        assert.deepStrictEqual((yield* fs.readDirectory(directory)).filter((name) => name.endsWith(".json")), [])

        const session = yield* Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          return yield* auth.login(InteractiveStrategy.browser())
        }).pipe(
          Effect.provide(
            Layer.fresh(program).pipe(
              Layer.provideMerge(oidc()),
              Layer.provideMerge(Layer.mergeAll(
                FileTokenStorage.layer({ directory }),
                NodeCallbackServer.layer({ ports: [port] }),
                ScriptedUserAgent.layerBrowser(answers),
                person
              ))
            )
          )
        )
        assert.isAbove(tokenOf(session).length, 20)
      }).pipe(Effect.scoped, Effect.provide([OidcProvider.layer(), NodeFileSystem.layer]))
  )
}
