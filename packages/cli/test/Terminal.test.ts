import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"
import { type Home, login, password, simulated } from "./authn.ts"

/** What a person sees who types these answers, and how it ended. */
const atTerminal = (
  home: Home,
  args: ReadonlyArray<string>,
  script: ReadonlyArray<readonly [sees: string, types: string]>,
  env: Record<string, string> = {}
) =>
  Effect.map(
    home.run(args, {
      by: ["python3", path.join(import.meta.dirname, "terminal.py"), "80", "30", JSON.stringify(script)],
      env: { TERM: "xterm-256color", ...env }
    }),
    ({ stderr, stdout }) => {
      const at = stdout.lastIndexOf("\n")
      return { shown: stdout.slice(0, at) + stderr, code: Number(stdout.slice(at + 1)) }
    }
  )

describe("at a terminal", { timeout: 90_000 }, () => {
  it.live("asks for everything that is missing, and shows no password", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const { code, shown } = yield* atTerminal(home, ["login"], [
          ["speak", "\r"],
          ["Address", `${simulator.issuer}\r`],
          ["Sign in with", "\r"],
          ["Name", "ada\r"],
          ["Password of ada", `${password}\r`]
        ])
        assert.strictEqual(code, 0, shown)
        assert.include(shown, "Signed in as")
        assert.notInclude(shown, password)
        assert.match((yield* home.run(["token"])).stdout, /^eyJ/)
      })))

  it.live("colours at a terminal only, and not with NO_COLOR", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const coloured = yield* atTerminal(home, ["status"], [])
        assert.include(coloured.shown, "\x1b[32m")
        for (const line of stripVTControlCharacters(coloured.shown).split(/\r?\n/)) {
          assert.isAtMost([...line].length, 80, line)
        }
        assert.notInclude((yield* atTerminal(home, ["status"], [], { NO_COLOR: "1" })).shown, "\x1b[")
        assert.notInclude((yield* home.run(["status"])).stdout, "\x1b[")
      })))

  it.live("status --watch goes on until Ctrl-C, and gives the cursor back", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { code, shown } = yield* atTerminal(home, ["status", "--watch"], [[
          "Ctrl-C ends[^]*Ctrl-C ends".replace("[^]", "[\\s\\S]"),
          "\x03"
        ]])
        assert.strictEqual(code, 130, shown)
        assert.isTrue(shown.lastIndexOf("\x1b[?25h") > shown.lastIndexOf("\x1b[?25l"), "the cursor is shown again")
      })))

  it.live("Ctrl-C at the password leaves nothing behind", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const args = ["login", "--dialect", "datalayer", "--issuer", simulator.issuer, "--handle", "ada"]
        const { code, shown } = yield* atTerminal(home, args, [["Password of ada", "\x03"]])
        assert.strictEqual(code, 130, shown)
        assert.strictEqual((yield* home.run(["token"])).code, 3)
        assert.strictEqual((yield* login(home, simulator.issuer, "datalayer")).code, 0)
      })))

  it.live("export does not show secrets by accident", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const { code, shown } = yield* atTerminal(home, ["export"], [])
        assert.strictEqual(code, 2)
        assert.notInclude(shown, "eyJ")
        assert.include((yield* atTerminal(home, ["export", "--to-terminal"], [])).shown, "eyJ")
      })))
})
