// The part about the Model Context Protocol: hosts that start the bridge, as editors and agents do, beside one another.
import { Effect } from "effect"
import { make } from "../../packages/cli/test/mcpHome.ts"
import { start } from "../../packages/mcp/test/strict.ts"
import * as Stage from "./stage.ts"

const { claim, step } = Stage

const hosts = 4
const calls = 4

export const tour = Effect.fn(function*(authn: string) {
  yield* step(`${hosts} hosts, one MCP server, one sign-in`)
  const server = yield* Effect.acquireRelease(
    Effect.promise(start),
    (server) => Effect.promise(() => server.close())
  )
  const home = yield* Effect.acquireRelease(
    Effect.sync(() => make(authn)),
    (home) => Effect.sync(() => home.remove())
  )
  const open = yield* Effect.acquireRelease(
    Effect.promise(() => Promise.all(Array.from({ length: hosts }, () => home.host(server.url)))),
    (open) => Effect.promise(() => Promise.allSettled(open.map(({ client }) => client.close())))
  )
  const browsers = home.browsers().length
  yield* claim(
    `${hosts} of them start at once, and one browser opens`,
    browsers === 1 && server.count("code") === 1 && server.count("register") === 1,
    `${server.count("register")} registration, ${server.count("code")} sign-in on the ledger`
  )
  server.tokens.clear()
  const answers = yield* Effect.promise(() =>
    Promise.allSettled(
      open.flatMap(({ client }) =>
        Array.from({ length: calls }, () => client.callTool({ name: "echo", arguments: {} }))
      )
    )
  )
  const failed = answers.filter(({ status }) => status === "rejected").length
  yield* claim(
    `the token ends, all call at once, and none of ${answers.length} calls fails`,
    failed === 0,
    `${server.count("refresh")} renewal, ${server.count("refresh refused")} refused`
  )
  yield* claim(
    "nobody was asked again",
    server.count("refresh") === 1 && server.count("refresh refused") === 0 && home.browsers().length === browsers
  )
}, Effect.scoped)
