/**
 * What every command answers to `--help`, for `scripts/bundle.mjs`, which puts it into the file that `ReadyHelp` reads.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Authn from "./Authn.ts"
import * as Output from "./Output.ts"
import type { HelpTexts } from "./ReadyHelp.ts"

const help = Effect.fnUntraced(function*(path: ReadonlyArray<string>, isPainted: boolean) {
  let text = ""
  const stdout = () =>
    Sink.forEach((chunk: string | Uint8Array) =>
      Effect.sync(() => {
        text += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString()
      })
    )
  const stdio = Layer.effect(
    Stdio.Stdio,
    Effect.map(
      Stdio.Stdio,
      (stdio) => Stdio.make({ ...stdio, stdout, stdoutIsTerminal: Effect.succeed(isPainted) })
    )
  )
  // Lines are ended where they are shown.
  const width = Layer.succeed(Output.Width, Effect.succeed(Number.POSITIVE_INFINITY))
  // The entry point of a program.
  // oxlint-disable-next-line effecttsgo/strict-effect-provide
  yield* Effect.provide(
    Authn.run([...path, "--help"]),
    width.pipe(Layer.provideMerge(Authn.layer), Layer.provideMerge(stdio), Layer.provideMerge(NodeServices.layer))
  )
  return text
})

/** The texts of all commands. */
export const all = (): Promise<HelpTexts> =>
  Effect.runPromise(Effect.map(
    Effect.forEach(Authn.paths(), (path) =>
      Effect.map(
        Effect.all([help(path, false), help(path, true)]),
        ([plain, painted]) => [path.join(" "), { plain, painted }] as const
      )),
    Object.fromEntries<HelpTexts[string]>
  ))
