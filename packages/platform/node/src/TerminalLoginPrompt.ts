/**
 * Talks to the person at the terminal.
 *
 * @since 0.1.0
 */
import * as LoginPrompt from "@effect-authn/core/login/LoginPrompt"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Terminal from "effect/Terminal"
import * as Readline from "node:readline"
import * as Timers from "node:timers"

/**
 * Makes the prompt. Notices go to the standard error, so that the standard output stays the program's own; answers are
 * read from the terminal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.map(Terminal.Terminal, (terminal) => {
  const show = (notice: LoginPrompt.Notice) => Console.error(LoginPrompt.text(notice))
  return LoginPrompt.LoginPrompt.of({
    obstacle: Effect.sync(() =>
      process.stdin.isTTY ? Option.none() : Option.some("there is nobody to ask (the standard input is no terminal)")
    ),
    show,
    ask: (notice) =>
      Effect.andThen(
        show(notice),
        terminal.readLine.pipe(
          Effect.map((line) => Redacted.make(line, { label: "pasted" })),
          Effect.option
        )
      )
  })
})

/**
 * The prompt at this program's terminal.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<LoginPrompt.LoginPrompt> = Layer.effect(
  LoginPrompt.LoginPrompt,
  Effect.flatMap(
    Terminal.Terminal,
    (terminal) => Effect.provideService(make, Terminal.Terminal, Terminal.make({ ...terminal, readLine: readLongLine }))
  )
).pipe(Layer.provide(NodeTerminal.layer))

// Nobody types a second line within this time, and no paste takes it.
const pasteMillis = 100

// A terminal that collects a line by itself cuts it (Linux after 4,095 characters, macOS after 1,024), and the address of
// a callback may be longer. `readline` reads key by key.
// What is pasted with line breaks comes as several lines, all at once: they are one answer.
const readLongLine = Effect.callback<string, Terminal.QuitError>((resume) => {
  const { stderr: output, stdin: input } = process
  const reader = Readline.createInterface({ input, output, terminal: true, prompt: "> " })
  const lines: Array<string> = []
  const answer = () => {
    // The rest of a paste whose last line has no end: the person ends it.
    if (reader.line === "") reader.close()
  }
  let waiting: NodeJS.Timeout | undefined
  reader.on("line", (line) => {
    lines.push(line)
    clearTimeout(waiting)
    // Between two lines of a terminal there is no fiber that could sleep.
    // oxlint-disable-next-line effecttsgo/global-timers
    waiting = Timers.setTimeout(answer, pasteMillis)
  })
  // Only now may the next question have the terminal.
  reader.once("close", () => {
    clearTimeout(waiting)
    resume(lines.length === 0 ? Effect.fail(new Terminal.QuitError({})) : Effect.succeed(lines.join("\n")))
  })
  reader.once("SIGINT", () => {
    reader.close()
    process.kill(process.pid, "SIGINT")
  })
  reader.prompt()
  return Effect.sync(() => reader.close())
})
