/**
 * What is printed: data on the standard output, people's text on the standard error, colour on terminals only.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as UserDirectories from "effect/persistence/UserDirectories"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { failed, type Failure } from "./Failure.ts"
import * as Text from "./Text.ts"

export { plain, rows, table, whole } from "./Text.ts"

type Channel = "stdout" | "stderr"

const write = Effect.fnUntraced(function*(channel: Channel, text: string) {
  const stdio = yield* Stdio.Stdio
  yield* Stream.run(Stream.succeed(text), stdio[channel]({ endOnDone: false })).pipe(
    Effect.catchTag("PlatformError", ({ message, reason: { cause } }) => {
      // Who stopped reading has what they wanted.
      if (Predicate.hasProperty(cause, "code") && cause.code === "EPIPE") return Effect.void
      const why = Predicate.isError(cause) ? cause.message : message
      return Effect.fail(failed(`the ${channel === "stdout" ? "output" : "messages"} cannot be written: ${why}`))
    })
  )
})

/** Prints data, as it is. */
export const raw = (text: string): Effect.Effect<void, Failure, Stdio.Stdio> => write("stdout", text)

/** Prints lines of data. */
export const out = (...lines: ReadonlyArray<string>): Effect.Effect<void, Failure, Stdio.Stdio> =>
  raw(Text.lines(lines))

/**
 * How wide the terminal is, where there is one: 0 where nobody knows.
 */
export const Width = Context.Reference<Effect.Effect<number>>("@effect-authn/cli/Output/Width", {
  defaultValue: () => Effect.succeed(0)
})

/** How many columns the lines of a channel may take: in a pipe, where programs read, as many as they have. */
const widthOf = Effect.fnUntraced(function*(channel: Channel): Effect.fn.Return<number, never, Stdio.Stdio> {
  const stdio = yield* Stdio.Stdio
  if (!(yield* stdio[`${channel}IsTerminal`])) return Number.POSITIVE_INFINITY
  return Text.widthOf(yield* yield* Width)
})

/** Tells people something, in lines that end between words. That nobody hears it is no failure. */
export const say = (...lines: ReadonlyArray<string>): Effect.Effect<void, never, Stdio.Stdio> =>
  Effect.flatMap(
    widthOf("stderr"),
    (width) =>
      show(Text.lines(
        lines.flatMap((line) => Text.localTimes(line).split("\n")).flatMap((line) => Text.folded(line, width)).map(
          Text.spaced
        )
      ))
  )

/** Shows people something, as it is. */
export const show = (text: string): Effect.Effect<void, never, Stdio.Stdio> => Effect.ignore(write("stderr", text))

/**
 * Prints data as JSON. What a terminal would act on is written as `\\u…`, which says the same to whoever parses it.
 */
export const json = (value: Schema.Json): Effect.Effect<void, Failure, Stdio.Stdio> => raw(Text.json(value))

/** Whether the terminal can only write: no colour, and no cursor that moves. */
export const isDumb: Effect.Effect<boolean> = Effect.map(
  Effect.option(Config.String("TERM")),
  Option.contains("dumb")
)

/** The styles for a channel: they change nothing where it is no terminal, or where `NO_COLOR` is set. */
export const paint = Effect.fnUntraced(function*(channel: Channel): Effect.fn.Return<Text.Paint, never, Stdio.Stdio> {
  const stdio = yield* Stdio.Stdio
  const never = yield* Effect.orElseSucceed(Config.option(Config.NonEmptyString("NO_COLOR")), () => Option.none())
  return Text.paint((yield* stdio[`${channel}IsTerminal`]) && Option.isNone(never) && !(yield* isDumb))
})

/** How wide a table on the standard output may be. */
export const columns: Effect.Effect<number, never, Stdio.Stdio> = widthOf("stdout")

/** An instant as people read it. */
export const time = (at: DateTime.DateTime): string => Text.time(DateTime.toEpochMillis(at))

/** Writes paths and instants in a text as people do. */
export const short: Effect.Effect<(text: string) => string> = UserDirectories.make().home.pipe(
  Effect.map((home) => (text: string) => Text.short(text, home)),
  Effect.orElseSucceed(() => Text.localTimes)
)

/** Prints help in lines that end between words. */
export const help = (text: string): Effect.Effect<void, Failure, Stdio.Stdio> =>
  Effect.flatMap(columns, (width) => raw(Text.help(text, width)))
