import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as Http from "node:http"
import * as Net from "node:net"
import * as path from "node:path"
import { post, send } from "./fixtures.ts"

const program = path.join(import.meta.dirname, "../src/bin/simulator.ts")

interface Shell {
  readonly pid: number
  readonly stdout: () => string
  readonly stderr: () => string
  readonly line: Promise<string>
  readonly exit: Promise<number | null>
  readonly signal: (name: NodeJS.Signals) => void
}

const shell = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync((): Shell => {
      const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] })
      let stdout = ""
      let stderr = ""
      child.stderr.on("data", (chunk) => stderr += chunk)
      const exit = new Promise<number | null>((resolve) => child.once("close", resolve))
      const line = new Promise<string>((resolve, reject) => {
        child.stdout.on("data", (chunk) => {
          stdout += chunk
          if (stdout.includes("\n")) resolve(stdout.split("\n")[0]!)
        })
        child.once("close", () => reject(new Error(`ended without a line: ${stderr}`)))
      })
      line.catch(() => {})
      return {
        pid: child.pid!,
        stdout: () => stdout,
        stderr: () => stderr,
        line,
        exit,
        signal: (name) => child.kill(name)
      }
    }),
    (child) => {
      child.signal("SIGKILL")
      return Effect.promise(() => child.exit)
    }
  )

describe("the simulator's shell", () => {
  it.live("prints one JSON line when it listens, on loopback only, and takes its flags", () =>
    Effect.gen(function*() {
      const child = yield* shell(
        "--user",
        "bob:pa:ss",
        "--user",
        "eve:x",
        "--token-lifetime",
        "90 seconds",
        "--clock-skew=-5 seconds",
        "--fail",
        "ping:503:1",
        "--rotation",
        "strict",
        "--success-status",
        "200"
      )
      const ready = JSON.parse(yield* Effect.promise(() => child.line))
      assert.deepStrictEqual(Object.keys(ready), ["issuer", "pid"])
      assert.strictEqual(ready.pid, child.pid)
      assert.match(ready.issuer, /^http:\/\/127\.0\.0\.1:\d+$/)
      const base = `${ready.issuer}/api/iam/v1`
      assert.strictEqual((yield* send(`${base}/ping`)).status, 503)
      assert.strictEqual((yield* post(`${base}/login`, { handle: "bob", password: "pa:ss" })).status, 200)
      assert.strictEqual((yield* post(`${base}/login`, { handle: "eve", password: "x" })).status, 200)
      assert.strictEqual(
        (yield* post(`${base}/login`, { handle: "ada", password: "correct-horse-battery" })).status,
        401
      )
      const knobs = (yield* post(`${ready.issuer}/__simulator/knobs`, {})).json
      const seen = [knobs.tokenLifetime, knobs.clockSkew, knobs.rotation]
      assert.deepStrictEqual(seen, ["90000 millis", "-5000 millis", "strict"])
      child.signal("SIGTERM")
      assert.strictEqual(yield* Effect.promise(() => child.exit), 0)
      assert.strictEqual(child.stdout().trim().split("\n").length, 1)
      assert.include(child.stderr(), "listens at")
      assert.notInclude(child.stderr(), "pa:ss")
    }))

  it.live("ends promptly on SIGTERM and SIGINT, with connections kept alive, a request that hangs and half a request", () =>
    Effect.gen(function*() {
      for (const name of ["SIGTERM", "SIGINT"] as const) {
        const child = yield* shell("--fail", "whoami:hang:1")
        const { issuer } = JSON.parse(yield* Effect.promise(() => child.line))
        const agent = new Http.Agent({ keepAlive: true })
        const get = (path: string) =>
          new Promise<void>((resolve) => {
            const request = Http.get(`${issuer}/api/iam/v1${path}`, { agent }, (response) => {
              response.resume().once("end", resolve)
            })
            request.on("error", () => resolve())
          })
        yield* Effect.promise(() => get("/ping"))
        const hanging = get("/whoami")
        const half = Net.connect({ host: "127.0.0.1", port: Number(new URL(issuer).port) })
        half.on("error", () => {})
        half.write("POST /api/iam/v1/login HTTP/1.1\r\nhost: x\r\n")
        yield* Effect.sleep("100 millis")
        const asked = performance.now()
        child.signal(name)
        assert.strictEqual(yield* Effect.promise(() => child.exit), 0)
        // A server that waits for its connections gives them twenty seconds.
        assert.isBelow(performance.now() - asked, 15_000)
        yield* Effect.promise(() => hanging)
        agent.destroy()
        half.destroy()
      }
    }))

  it.live("a bad flag is told in words, without a stack, and exits with 1", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<[ReadonlyArray<string>, string]> = [
        [["--fail", "nope:1:1"], "a route one of login"],
        [["--token-lifetime", "soon"], "--token-lifetime"],
        [["--user", "ada"], "<handle>:<password>"],
        [["--rotation", "sometimes"], "strict"],
        [["--bogus"], "--bogus"]
      ]
      const check = Effect.fnUntraced(function*([args, expected]: typeof cases[number]) {
        const child = yield* shell(...args)
        assert.strictEqual(yield* Effect.promise(() => child.exit), 1)
        assert.include(child.stderr(), expected)
        assert.notMatch(child.stderr(), /\n\s+at .*:\d+:\d+/)
      })
      yield* Effect.forEach(cases, check, { concurrency: 2, discard: true })
    }))

  it.live("a port that is taken is told in words", () =>
    Effect.gen(function*() {
      const first = yield* shell()
      const { issuer } = JSON.parse(yield* Effect.promise(() => first.line))
      const second = yield* shell("--port", new URL(issuer).port)
      assert.strictEqual(yield* Effect.promise(() => second.exit), 1)
      assert.include(second.stderr(), "Cannot listen on port")
      assert.notMatch(second.stderr(), /\n\s+at .*:\d+:\d+/)
    }))
})
