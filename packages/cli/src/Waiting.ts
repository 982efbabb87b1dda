/**
 * How long a command waits: for an answer (`--timeout`), and for a person who signs in elsewhere (`--wait`).
 */
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Stdio from "effect/Stdio"
import * as Failure from "./Failure.ts"
import * as Output from "./Output.ts"
import * as TimeSpan from "./TimeSpan.ts"

/** `--timeout`, in milliseconds. */
export const timeout = Flag.String("timeout").pipe(
  Flag.withMetavar("SPAN"),
  Flag.withDescription("Give up after this time: 10, 10s, 2m; a renewal that was sent is finished all the same"),
  Flag.optional,
  Flag.mapEffect((given) => {
    if (Option.isNone(given)) return Effect.succeedNone
    const seconds = TimeSpan.parse(given.value)
    return seconds === undefined || seconds === 0
      ? Effect.fail(
        new CliError.InvalidValue({ option: "timeout", value: given.value, expected: "10, 10s or 2m", kind: "flag" })
      )
      : Effect.succeedSome(seconds * 1000)
  })
)

/** `--timeout` and `--wait`. */
export const flags = {
  timeout,
  wait: Flag.Boolean("wait").pipe(
    Flag.withDescription("Where nobody is signed in, wait until somebody is"),
    Flag.withDefault(false)
  )
}

/** What these flags say. */
export interface Given {
  readonly timeout: Option.Option<number>
  readonly wait?: boolean
}

/** Whether only a login helps. */
const isSignedOut = (error: unknown): boolean => [3, 4].includes(Failure.describe(Cause.fail(error)).exitCode)

/**
 * Does something within the time that was given, and with `--wait` again until somebody has signed in.
 */
export const within = <A, E, R>(
  given: Given,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Failure.Failure, R | Stdio.Stdio> => {
  let last: E | undefined
  const waiting = given.wait !== true ? effect : effect.pipe(
    Effect.tapError((error) => {
      const isFirst = last === undefined
      last = error
      return isFirst && isSignedOut(error)
        ? Output.say("authn: nobody is signed in: waiting for a login, as long as this runs (Ctrl-C ends it)")
        : Effect.void
    }),
    Effect.retry({ while: isSignedOut, schedule: Schedule.spaced("1 second") })
  )
  return Option.match(given.timeout, {
    onNone: () => waiting,
    onSome: (millis): Effect.Effect<A, E | Failure.Failure, R | Stdio.Stdio> =>
      Effect.timeoutOrElse(waiting, {
        duration: Duration.millis(millis),
        orElse: (): Effect.Effect<never, E | Failure.Failure> =>
          Effect.fail(
            last ??
              new Failure.Failure({
                exitCode: 5,
                detail: `no answer within ${TimeSpan.format(millis)}, the time that --timeout gives`
              })
          )
      })
  })
}
