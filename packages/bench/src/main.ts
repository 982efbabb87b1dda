// Runs the benchmarks: node packages/bench/src/main.ts <name>
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"

const benches = new Map<string, { readonly about: string; readonly load: () => Promise<{ run: Effect.Effect<void> }> }>(
  [
    ["jwt", {
      about: "decode and verify tokens, beside jose, fast-jwt and jsonwebtoken",
      load: () => import("./jwt.ts")
    }],
    ["renewal", {
      about: "keep sessions, beside google-auth-library, msal-node and the Azure token cycler",
      load: () => import("./renewal.ts")
    }]
  ]
)

const list = [...benches].map(([name, { about }]) => `  ${name.padEnd(10)} ${about}`).join("\n")

const program = Effect.gen(function*() {
  const name = process.argv[2]
  const bench = benches.get(name ?? "")
  if (bench !== undefined) {
    const { run } = yield* Effect.promise(bench.load)
    yield* run
  } else if (name === undefined) {
    yield* Console.log(`npm run bench -- <name>\n${list}`)
  } else {
    yield* Console.error(`no benchmark is called "${name}"; there are:\n${list}`)
    process.exitCode = 1
  }
})

NodeRuntime.runMain(program)
