/**
 * Sees whatever a program logs and traces, so that a test can say what nobody may see there.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"

/**
 * What was seen so far, and the way to see more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Witness {
  /** The spans that began, in that order. */
  readonly spans: ReadonlyArray<Tracer.Span>
  /** Runs an effect, and all that it builds, in the sight of the witness. It logs from `Trace` on. */
  readonly watch: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** What was logged: for each message a text of what it holds, and one of its cause. */
  readonly logs: ReadonlyArray<string>
  /** Everything that was traced, as one text: names, attributes, headers of requests, and causes of failures. */
  readonly traced: () => string
}

/**
 * A witness that has seen nothing yet.
 *
 * **Example** (A secret that is logged)
 *
 * ```ts import.meta.vitest
 * import { Witness } from "@effect-authn/testing"
 * import { Effect } from "effect"
 *
 * const witness = Witness.make()
 * await Effect.runPromise(witness.watch(Effect.logInfo("signed in with canary")))
 * witness.logs.join().includes("canary") // => true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Witness => {
  const logs: Array<string> = []
  const spans: Array<Tracer.Span> = []
  const logger = Logger.make(({ cause, fiber, message }) => {
    const annotations = fiber.getRef(References.CurrentLogAnnotations)
    logs.push(inspect([message, cause, annotations], { depth: null }), Cause.pretty(cause))
  })
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const layer = Layer.mergeAll(
    Logger.layer([logger]),
    Layer.succeed(References.MinimumLogLevel, "Trace"),
    Layer.succeed(Tracer.Tracer, tracer),
    // What goes out is in the spans, where Effect may show it.
    Layer.succeed(HttpClient.TracerHeaderFilter, (_name, phase) => phase === "request")
  )
  return {
    logs,
    spans,
    // oxlint-disable-next-line effecttsgo/strict-effect-provide -- what a test watches is its program
    watch: Effect.provide(layer),
    traced: () => spans.map(shown).join("\n")
  }
}

const shown = ({ attributes, name, status }: Tracer.Span): string =>
  [
    name,
    inspect([...attributes], { depth: null }),
    status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
  ].join(" ")
