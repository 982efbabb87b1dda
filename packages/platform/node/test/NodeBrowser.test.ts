import { Browser } from "@effect-authn/core"
import { NodeBrowser } from "@effect-authn/platform-node"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Layer, Option, PlatformError } from "effect"
import { type ChildProcess, ChildProcessSpawner } from "effect/process"
import * as Path from "node:path"
import { temporary } from "./children.ts"

const browserWith = (environment: Record<string, string>) =>
  Effect.provide(
    Browser.Browser,
    Layer.fresh(NodeBrowser.layer).pipe(
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: environment })))
    )
  )

const obstacleIn = (environment: Record<string, string>, needsDisplay = true) =>
  Browser.environmentObstacle({ needsDisplay }).pipe(
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: environment }))),
    Effect.map(Option.getOrElse(() => ""))
  )

describe("why no browser opens in front of the person", () => {
  const cases: ReadonlyArray<readonly [environment: Record<string, string>, names: string]> = [
    [{ DISPLAY: ":0", SSH_CONNECTION: "10.0.0.1 1 10.0.0.2 22" }, "SSH"],
    [{ DISPLAY: ":0", SSH_TTY: "/dev/pts/0" }, "SSH_TTY"],
    [{ DISPLAY: ":0", CODESPACES: "true" }, "codespace"],
    [{ DISPLAY: ":0", REMOTE_CONTAINERS: "true" }, "development container"],
    [{ DISPLAY: ":0", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "container"],
    [{ DISPLAY: ":0", CI: "true" }, "CI"],
    [{}, "DISPLAY"],
    [{ DISPLAY: "" }, "DISPLAY"],
    [{ DISPLAY: ":0" }, ""],
    [{ WAYLAND_DISPLAY: "wayland-0" }, ""],
    [{ WSL_DISTRO_NAME: "Debian" }, ""],
    [{ DISPLAY: ":0", CI: "false", CODESPACES: "0" }, ""]
  ]
  for (const [environment, names] of cases) {
    it.effect(`${JSON.stringify(environment)}: ${names || "nothing"}`, () =>
      Effect.gen(function*() {
        const obstacle = yield* obstacleIn(environment)
        if (names === "") assert.strictEqual(obstacle, "")
        else assert.include(obstacle, names)
      }))
  }

  it.effect("systems that need no display", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* obstacleIn({}, false), "")
    }))
})

describe("opening", () => {
  /** What is started on a system to open a page; there is no such program here. */
  const startedOn = (platform: NodeJS.Platform, env: Record<string, string>, url: string) =>
    Effect.gen(function*() {
      let started: ChildProcess.Command | undefined
      const spawner = ChildProcessSpawner.make((command) => {
        started = command
        return Effect.fail(PlatformError.systemError({ _tag: "NotFound", module: "test", method: "spawn" }))
      })
      const browser = yield* Effect.acquireUseRelease(
        Effect.sync(() => Object.getOwnPropertyDescriptor(process, "platform")!),
        () =>
          Effect.suspend(() => {
            Object.defineProperty(process, "platform", { value: platform })
            return NodeBrowser.make
          }),
        (before) => Effect.sync(() => Object.defineProperty(process, "platform", before))
      ).pipe(
        Effect.provideService(ChildProcessSpawner.ChildProcessSpawner, spawner),
        Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
      )
      yield* Effect.flip(browser.open(url))
      return started?._tag === "StandardCommand" ? [started.command, ...started.args] : []
    })

  it.effect("names a program and the address, and no shell", () =>
    Effect.gen(function*() {
      const url = "https://idp.example/a?b=c&d=e%20f"
      const handler = "url.dll,FileProtocolHandler"
      assert.deepStrictEqual(yield* startedOn("darwin", {}, url), ["open", url])
      assert.deepStrictEqual(yield* startedOn("linux", {}, url), ["xdg-open", url])
      assert.deepStrictEqual(yield* startedOn("win32", {}, url), ["rundll32", handler, url])
      assert.deepStrictEqual(yield* startedOn("linux", { WSL_DISTRO_NAME: "Debian" }, url), [
        "rundll32.exe",
        handler,
        url
      ])
    }))

  it.effect("anything but a web page is refused", () =>
    Effect.gen(function*() {
      const browser = yield* browserWith({})
      for (const url of ["file:///etc/passwd", "javascript:alert(1)", "-x", "", "calc.exe"]) {
        assert.include((yield* Effect.flip(browser.open(url))).message, "only http and https")
      }
    }))

  // The program is found by PATH, which a test of this process may change only for itself.
  it.live.skipIf(process.platform !== "linux")(
    "runs the opener with the address as one argument, or says what went wrong",
    () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const directory = yield* temporary
        const browser = yield* browserWith({})
        const before = process.env["PATH"]
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            process.env["PATH"] = before
          })
        )
        const url = "https://idp.example/a?b=$(touch%20x)&c=';d"
        const install = (body: string) =>
          fs.writeFileString(Path.join(directory, "xdg-open"), `#!/bin/sh\n${body}\n`, { mode: 0o755 })

        process.env["PATH"] = directory
        assert.include((yield* Effect.flip(browser.open(url))).message, "could not be started (NotFound)")
        yield* install("exit 3")
        assert.include((yield* Effect.flip(browser.open(url))).message, "ended with 3")
        yield* install(`printf '%s\\n' "$#" "$1" > ${directory}/seen`)
        yield* browser.open(url)
        assert.strictEqual(yield* fs.readFileString(Path.join(directory, "seen")), `1\n${new URL(url).href}\n`)
        yield* install("exec /bin/sleep 5")
        yield* browser.open(url)
      }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
  )
})
