// A process of a fleet of vaults. It says where it listens, and for each line that it reads how many statements it has sent.
import { Context, Effect, Layer, References } from "effect"
import { HttpServer } from "effect/http"
import * as Readline from "node:readline"
import * as Fleet from "./vaultFleet.ts"

const orders: Fleet.Orders = JSON.parse(process.argv[2] ?? "")
const statements: Fleet.Statements = { all: 0, claims: 0, draws: 0 }

const main = Effect.gen(function*() {
  const built = yield* Layer.build(Fleet.process(orders, statements))
  const { address } = Context.get(built, HttpServer.HttpServer)
  console.log(JSON.stringify({ port: address._tag === "UnixPathAddress" ? 0 : address.port }))
  Readline.createInterface(process.stdin).on("line", () => console.log(JSON.stringify(statements)))
  process.stdin.on("end", () => process.exit(0))
  return yield* Effect.never
}).pipe(Effect.scoped, Effect.provideService(References.LogToStderr, true))

Effect.runFork(main)
