// What a person sees of the tour: steps, claims with their evidence, and a live timeline on a terminal.
import { Console, Data, Effect } from "effect"

const isTerminal = process.stdout.isTTY && process.env["NO_COLOR"] === undefined
const paint = (code: number) => (text: string) => isTerminal ? `\u001B[${code}m${text}\u001B[0m` : text
export const bold = paint(1)
export const dim = paint(2)
export const green = paint(32)
export const red = paint(31)

export class ClaimFailed extends Data.TaggedError("ClaimFailed")<{ readonly message: string }> {}

let number = 0

/** Begins a step. */
export const step = (title: string) => Console.log(`\n${bold(`${++number}. ${title}`)}`)

/** Says something that needs no proof. */
export const say = (text: string) => Console.log(`   ${text}`)

/** States what was seen. What does not hold ends the tour. */
export const claim = (text: string, holds: boolean, evidence = "") =>
  Effect.gen(function*() {
    yield* Console.log(`   ${holds ? green("✓") : red("✗")} ${text}${evidence === "" ? "" : dim(`  (${evidence})`)}`)
    return holds ? undefined : yield* new ClaimFailed({ message: `"${text}" does not hold` })
  })

/** One line that is drawn again and again on a terminal; elsewhere only `mark`s are printed, a line each. */
export const timeline = (seconds: number) => {
  const began = performance.now()
  const width = 60
  const marks: Array<number> = []
  const at = () => (performance.now() - began) / 1000
  const draw = () => {
    const cells = Array.from({ length: width }, (_, cell) => {
      const time = (cell / width) * seconds
      if (marks.some((mark) => Math.floor((mark / seconds) * width) === cell)) return green("●")
      return time <= at() ? "─" : dim("·")
    })
    process.stdout.write(`\r   ${cells.join("")} ${at().toFixed(1)} s `)
  }
  const timer = isTerminal ? setInterval(draw, 100) : undefined
  return {
    mark: (text: string) =>
      Effect.suspend(() => {
        marks.push(at())
        return isTerminal ? Effect.sync(draw) : Console.log(`   ${at().toFixed(1).padStart(5)} s  ● ${text}`)
      }),
    end: Effect.sync(() => {
      clearInterval(timer)
      if (isTerminal) {
        draw()
        process.stdout.write("\n")
      }
    })
  }
}
