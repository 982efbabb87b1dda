/** A machine of a fleet. It says where it listens, and serves until it is stopped or killed. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Program from "../chaos/program.ts"

const main = Effect.gen(function*() {
  const { address } = Context.get(
    yield* Layer.build(Program.process(JSON.parse(process.argv[2] ?? ""))),
    HttpServer.HttpServer
  )
  console.log(address._tag === "UnixPathAddress" ? 0 : address.port)
  process.stdin.resume().once("end", () => process.exit(0))
  return yield* Effect.never
}).pipe(Effect.scoped, Effect.provideService(References.LogToStderr, true))

NodeRuntime.runMain(main)
