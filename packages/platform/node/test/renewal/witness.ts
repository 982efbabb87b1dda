/** Sees whatever a program logs and traces, and knows what of it nobody may see. */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, References, Tracer } from "effect"
import { inspect } from "node:util"

/** How the secrets of these tests begin: the simulator's refresh tokens, any JWT, the password, and the canaries. */
const secrets = /cmVmcmVzaCB0b2tlbi|eyJ[\w-]{12}|correct-horse|canary/

export const hasSecret = (text: string): boolean => secrets.test(text)

export const assertNoSecret = (text: string, where: string): void => {
  const found = secrets.exec(text)
  assert.isNull(
    found,
    found === null ? "" : `${where}: …${text.slice(Math.max(0, found.index - 200), found.index)}[here]`
  )
}

export const make = () => {
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
    Layer.succeed(Tracer.Tracer, tracer)
  )
  const traced = ({ attributes, name, status }: Tracer.Span) =>
    [
      name,
      inspect([...attributes], { depth: null }),
      status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
    ].join(" ")
  return {
    logs,
    spans,
    /** Runs an effect and everything it builds in the sight of the witness. */
    watch: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, layer),
    assertNoSecret: () => {
      assertNoSecret(logs.join("\n"), "in the log")
      assertNoSecret(spans.map(traced).join("\n"), "in a span")
    }
  }
}
