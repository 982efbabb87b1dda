/**
 * Warnings of the library. They are held back for a moment, since the failure that follows often says the same.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import type * as Stdio from "effect/Stdio"
import { describe } from "./Failure.ts"
import * as Output from "./Output.ts"
import * as Text from "./Text.ts"

const moment = "10 seconds"

/** Holds warnings back. `flush` shows each one once, except what `failure` says. */
export class Warnings extends Context.Service<Warnings, {
  readonly flush: (failure?: string) => Effect.Effect<void>
}>()("@effect-authn/cli/Warnings") {}

const make = Effect.gen(function*() {
  const stdio = yield* Effect.context<Stdio.Stdio>()
  const held = new Set<string>()
  const flush = Effect.fnUntraced(function*(failure?: string) {
    const [said] = failure?.split("\n") ?? []
    const warnings = [...held].filter((warning) => said === undefined || !warning.includes(said))
    held.clear()
    for (const warning of warnings) yield* Output.say(`authn: ${Text.unstyled(warning)}`)
  }, Effect.provideContext(stdio))
  const run = yield* FiberHandle.makeRuntime<never>()
  const logger = Logger.make(({ cause, message }) => {
    const words = Array.isArray(message) ? message.join(" ") : String(message)
    // What a library goes on without is logged as its cause alone.
    const warning = words === "" ? describe(cause).text ?? "" : words
    if (warning === "") return
    held.add(warning)
    run(Effect.delay(flush(), moment), { onlyIfMissing: true })
  })
  return { flush, logger }
})

/** Takes the place of every logger. */
export const layer: Layer.Layer<Warnings, never, Stdio.Stdio> = Layer.unwrap(
  Effect.map(make, ({ flush, logger }) =>
    Layer.mergeAll(
      Layer.succeed(Warnings, { flush }),
      Logger.layer([logger]),
      Layer.succeed(References.MinimumLogLevel, "Warn")
    ))
)
