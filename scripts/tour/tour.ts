// The parts of the tour, in order: the authn command, and a program with the library, against real HTTP servers, with every
// claim read from a server's ledger or the file system.
import { NodeAuth } from "@effect-authn/platform-node"
import { NodeServices } from "@effect/platform-node"
import { ConfigProvider, Console, Effect, References } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Datalayer from "./datalayer.ts"
import * as Fleet from "./fleet.ts"
import * as Genomcore from "./genomcore.ts"
import * as Mcp from "./mcp.ts"
import * as Oidc from "./oidc.ts"
import * as Simulator from "./simulator.ts"
import * as Stage from "./stage.ts"
import * as Terminal from "./terminal.ts"

/** A directory that is gone when its scope ends. */
export const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-authn-tour-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
)

const parts = ["datalayer", "genomcore", "oidc", "mcp", "fleet"]

/** The parts to play, and the flags of the simulator and of the provider. */
const read = (words: ReadonlyArray<string>) => {
  const end = words.findIndex((word) => word.startsWith("-"))
  const chosen = end < 0 ? words : words.slice(0, end)
  const unknown = chosen.find((word) => !parts.includes(word))
  if (unknown !== undefined) {
    return Effect.fail(new Stage.ClaimFailed({ message: `there is no part "${unknown}", only ${parts.join(", ")}` }))
  }
  const flags: Array<string> = []
  const failing: Array<string> = []
  for (let at = chosen.length; at < words.length; at++) {
    if (words[at] === "--fail-provider") failing.push(words[++at] ?? "")
    else flags.push(words[at] ?? "")
  }
  return Effect.succeed({ has: (part: string) => chosen.length === 0 || chosen.includes(part), flags, failing })
}

/** Plays what is asked for, with the command in the file `authn`. Fails with the first claim that does not hold. */
export const play = (words: ReadonlyArray<string>, authn: Effect.Effect<string>) =>
  Effect.gen(function*() {
    const directory = yield* temporary
    const { failing, flags, has } = yield* read(words)
    yield* Console.log(Stage.bold("authn: sign in once, stay signed in"))
    const [{ issuer, pid }, main] = yield* Effect.all([Simulator.start(flags), authn], { concurrency: 2 })
    yield* Stage.say(Stage.dim(`an IAM is running at ${issuer} (process ${pid})`))
    const terminal = Terminal.make(main, path.join(directory, "first"))
    yield* Effect.gen(function*() {
      if (has("datalayer")) yield* Datalayer.tour(issuer, terminal)
      if (has("genomcore")) yield* Genomcore.tour(issuer, terminal, Terminal.make(main, path.join(directory, "second")))
      if (has("oidc")) yield* Oidc.tour(terminal, failing)
      if (has("mcp")) yield* Mcp.tour(main)
      if (has("fleet")) yield* Fleet.tour(issuer, directory)
    }).pipe(
      Effect.provide(NodeAuth.layerHttpClient),
      // The program with the library is at the same machine.
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: terminal.env }))
    )
  }).pipe(
    Effect.scoped,
    Effect.provide(NodeServices.layer),
    // What the library logs about a renewal is not part of the tour.
    Effect.provideService(References.MinimumLogLevel, "Error"),
    Effect.tapError((error) => Console.error(`\n${Stage.red("The tour ended early")}: ${error.message}`))
  )
