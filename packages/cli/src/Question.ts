/**
 * Questions to a person at the terminal. What is typed or pasted is taken as it comes, in time that grows with its length;
 * a terminal that can move no cursor (`TERM=dumb`) gets plain lines.
 */
import * as CliOutput from "effect/cli/CliOutput"
import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import type * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"
import * as Output from "./Output.ts"

const erased = (character: string): string => "\b \b".repeat(CliOutput.displayWidth(character))

/** Asks, and takes the line that is typed; `isShown` says whether people see it. */
const typed = Effect.fnUntraced(function*(message: string, isShown: boolean) {
  const terminal = yield* Terminal.Terminal
  const { bold } = yield* Output.paint("stderr")
  // The terminal shows nothing by itself from here on: not even what is typed before the question is read.
  const keys = yield* terminal.readInput
  yield* Output.show(`${bold(message)}: `)
  const characters: Array<string> = []
  for (;;) {
    // A paste is one batch: it is shown at once, not once per character.
    const batch = yield* Effect.mapError(Queue.takeAll(keys), () => new Terminal.QuitError({}))
    const end = batch.findIndex(({ key }) => key.name === "return" || key.name === "enter")
    let echo = ""
    for (const { input, key } of end === -1 ? batch : batch.slice(0, end)) {
      const character = Option.getOrElse(input, () => "")
      if (key.name === "backspace") echo += erased(characters.pop() ?? "")
      else if (key.ctrl && key.name === "u") echo += characters.splice(0).map(erased).join("")
      else if (key.ctrl && key.name === "w") {
        const end = characters.findLastIndex((character) => /\S/.test(character)) + 1
        const begin = characters.slice(0, end).findLastIndex((character) => /\s/.test(character)) + 1
        echo += characters.splice(begin).map(erased).join("")
      } else if (!key.ctrl && !key.meta && character !== "" && !/\p{Cc}/u.test(character)) {
        characters.push(character)
        echo += character
      }
    }
    yield* Output.show((isShown ? echo : "") + (end === -1 ? "" : "\n"))
    if (end !== -1) return characters.join("")
  }
}, Effect.scoped)

/** Asks for a line until `check` has nothing against it. An empty line takes what is `suggested`. */
export const line = Effect.fnUntraced(function*(
  message: string,
  check: (answer: string) => string | undefined = () => undefined,
  suggested?: string
): Effect.fn.Return<string, Terminal.QuitError, Stdio.Stdio | Terminal.Terminal> {
  const asked = suggested === undefined ? message : `${message} [${Output.plain(suggested)}]`
  for (;;) {
    const answer = (yield* typed(asked, true)).trim() || (suggested ?? "")
    const problem = answer === "" ? "there has to be something" : check(answer)
    if (problem === undefined) return answer
    yield* Output.say(problem)
  }
})

/** Asks for a secret, which nobody sees. */
export const secret = Effect.fnUntraced(function*(message: string) {
  for (;;) {
    const answer = yield* typed(message, false)
    if (answer !== "") return Redacted.make(answer)
    yield* Output.say("there has to be something")
  }
})

/** Asks which of several is meant. */
export const choice = Effect.fnUntraced(function*<A>(
  message: string,
  choices: ReadonlyArray<{ readonly title: string; readonly value: A; readonly description?: string }>
) {
  if (!(yield* Output.isDumb)) return yield* Prompt.Select<A>({ message, choices })
  yield* Output.say(
    message,
    ...choices.map(({ description, title }, at) =>
      `  ${at + 1}  ${title}${description === undefined ? "" : `: ${description}`}`
    )
  )
  const chosen = (answer: string) => /^\d+$/.test(answer) ? choices[Number(answer) - 1] : undefined
  const answer = yield* line(
    "Number",
    (answer) => chosen(answer) === undefined ? `give a number from 1 to ${choices.length}` : undefined
  )
  return yield* Effect.orDie(Effect.map(Effect.fromNullishOr(chosen(answer)), ({ value }) => value))
})

/** Asks for leave, which is not given unless it is said. */
export const leave = Effect.fnUntraced(function*(message: string) {
  if (!(yield* Output.isDumb)) return yield* Prompt.Confirm({ message, initial: false })
  return /^y(es)?$/i.test(yield* line(`${message} yes or no`))
})
