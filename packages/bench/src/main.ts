// Runs the benchmarks: node packages/bench/src/main.ts <name>
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { spawnSync } from "node:child_process"
import * as path from "node:path"

/** A bench of the command, which lies beside it. */
const script = (name: string) => {
  const file = path.join(import.meta.dirname, "../../cli/bench", name)
  return { run: Effect.sync(() => void spawnSync(process.execPath, [file], { stdio: "inherit" })) }
}

const benches = new Map<string, { readonly about: string; readonly load: () => Promise<{ run: Effect.Effect<void> }> }>(
  [
    ["jwt", {
      about: "decode and verify tokens, beside jose, fast-jwt and jsonwebtoken",
      load: () => import("./jwt.ts")
    }],
    ["renewal", {
      about: "keep sessions, beside google-auth-library, msal-node and the Azure token cycler",
      load: () => import("./renewal.ts")
    }],
    ["storages", {
      about: "read, write, open and renew a session in each storage, and 64 processes over one",
      load: () => import("./storages.ts")
    }],
    ["vault", {
      about: "a fleet of vaults over PostgreSQL: EFFECT_AUTHN_SESSIONS=1000000 for the soak",
      load: () => import("./vault.ts")
    }],
    ["vault-peers", {
      about: "processes over the same expired sessions: vaults, SET NX PX, MSAL, better-auth, Auth.js",
      load: () => import("./vaultPeers.ts")
    }],
    ["chain", {
      about: "how soon login() says that nothing signs this program in",
      load: () => import("./chain.ts")
    }],
    ["command", {
      about: "how long authn takes, beside plain scripts that do the same",
      load: () => Promise.resolve(script("token.mjs"))
    }],
    ["mcp", {
      about: "eight hosts at the end of a token, beside the official SDK and mcp-remote",
      load: () => Promise.resolve(script("mcp.mjs"))
    }]
  ]
)

const list = [...benches].map(([name, { about }]) => `  ${name.padEnd(11)} ${about}`).join("\n")

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
