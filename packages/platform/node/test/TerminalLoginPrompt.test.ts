import { LoginPrompt } from "@effect-authn/core"
import { TerminalLoginPrompt } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted, Terminal } from "effect"
import { TestConsole } from "effect/testing"
import { spawn } from "node:child_process"
import * as path from "node:path"

const notice = LoginPrompt.Notice.cases.PasteCallback.make({ url: "https://iam.example/authorize" })

const prompt = (readLine: Effect.Effect<string, Terminal.QuitError>) =>
  Effect.provideService(
    TerminalLoginPrompt.make,
    Terminal.Terminal,
    Terminal.make({
      columns: Effect.succeed(80),
      rows: Effect.succeed(24),
      size: Effect.die("not used"),
      readInput: Effect.die("not used"),
      readLine,
      display: () => Effect.die("the standard output is the program's own")
    })
  )

describe("TerminalLoginPrompt", () => {
  it.effect("shows notices on the standard error alone", () =>
    Effect.gen(function*() {
      const { show } = yield* prompt(Effect.never)
      yield* show(notice)
      assert.include((yield* TestConsole.errorLines).join("\n"), "https://iam.example/authorize")
      assert.deepStrictEqual(yield* TestConsole.logLines, [])
    }))

  it.effect("reads one line, redacted", () =>
    Effect.gen(function*() {
      const { ask } = yield* prompt(Effect.succeed("http://127.0.0.1/callback?code=secret"))
      const answer = Option.getOrThrow(yield* ask(notice))
      assert.notInclude(String(answer), "secret")
      assert.include(Redacted.value(answer), "secret")
    }))

  it.effect("a person who leaves answers nothing", () =>
    Effect.gen(function*() {
      const { ask } = yield* prompt(Effect.fail(new Terminal.QuitError({})))
      assert.isTrue(Option.isNone(yield* ask(notice)))
    }))

  it.effect("nobody can be asked where the standard input is no terminal", () =>
    Effect.gen(function*() {
      const { obstacle } = yield* prompt(Effect.never)
      assert.strictEqual(Option.isSome(yield* obstacle), !process.stdin.isTTY)
    }))

  /** A person at a terminal of their own, which `script` (util-linux) makes; they type as soon as they are asked. */
  const type = (typed: string, later = "") =>
    Effect.callback<{ readonly code: number | null; readonly shown: string }>((resume) => {
      const program = path.join(import.meta.dirname, "children/paster.ts")
      const child = spawn("script", ["-qefc", `'${process.execPath}' '${program}'`, "/dev/null"])
      let shown = ""
      let isLate = false
      child.stdout.on("data", (data) => {
        const isAsked = !shown.includes("> ")
        shown += String(data)
        if (isAsked && shown.includes("> ")) child.stdin.write(typed)
        if (!isLate && later !== "" && shown.includes("code=c")) {
          isLate = true
          setTimeout(() => child.stdin.write(later), 300)
        }
      })
      child.on("close", (code) => resume(Effect.succeed({ code, shown })))
      return Effect.sync(() => child.kill())
    })

  it.live("takes an address that is longer than a terminal's line", () =>
    Effect.gen(function*() {
      const { code, shown } = yield* type(`${"a".repeat(6000)}\r`)
      assert.include(shown, "6000 characters")
      assert.strictEqual(code, 0)
    }))

  it.live("takes what is pasted with line breaks as one answer, whose last line the person ends", () =>
    Effect.gen(function*() {
      assert.include((yield* type("http://127.0.0.1/call\rback?code=c\r")).shown, "33 characters")
      assert.include((yield* type("http://127.0.0.1/call\r\rback?code=c\r")).shown, "34 characters")
      const ended = yield* type("http://127.0.0.1/call\rback?code=c", "&state=s\r")
      assert.include(ended.shown, "41 characters")
      assert.include((yield* type("\r")).shown, "0 characters")
    }))

  it.live("Ctrl-C at the question ends the program, Ctrl-D answers nothing", () =>
    Effect.gen(function*() {
      assert.notStrictEqual((yield* type("\u0003")).code, 0)
      assert.include((yield* type("\u0004")).shown, "nothing")
    }))
})
