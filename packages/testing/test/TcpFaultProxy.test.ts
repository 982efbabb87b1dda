import * as TcpFaultProxy from "@effect-authn/testing/TcpFaultProxy"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Net from "node:net"

/** A server that answers every line with the same line in capitals. */
const startServer = Effect.gen(function*() {
  const heard: Array<string> = []
  const sockets = new Set<Net.Socket>()
  const server = Net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("data", (bytes) => {
      heard.push(`${bytes}`)
      socket.write(`${bytes}`.toUpperCase())
    })
  })
  const port = yield* Effect.callback<number>((resume) => {
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as Net.AddressInfo).port)))
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
  )
  return { port, heard }
})

const connect = Effect.fnUntraced(function*(port: number) {
  const received: Array<string> = []
  let ended: string | undefined
  const socket = Net.connect({ host: "127.0.0.1", port })
  socket.on("data", (bytes) => received.push(`${bytes}`))
  socket.on("error", (error: NodeJS.ErrnoException) => {
    ended = error.code
  })
  socket.on("close", () => {
    ended ??= "closed"
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
  return { send: (text: string) => Effect.sync(() => socket.write(text)), received, ended: () => ended, socket }
})

const until = (condition: () => boolean) =>
  Effect.sync(condition).pipe(
    Effect.repeat({ until: (holds) => holds, schedule: Schedule.spaced("5 millis") }),
    Effect.timeout("20 seconds")
  )

const start = Effect.gen(function*() {
  const server = yield* startServer
  const proxy = yield* TcpFaultProxy.make
  yield* proxy.forwardTo({ port: server.port })
  return { server, proxy, client: yield* connect(proxy.port) }
})

it.live("an open line carries bytes both ways, and the end", () =>
  Effect.gen(function*() {
    const { client, proxy, server } = yield* start
    yield* client.send("one")
    yield* until(() => client.received.join("") === "ONE")
    client.socket.end()
    yield* until(() => client.ended() !== undefined)
    assert.strictEqual(client.ended(), "closed")
    assert.deepStrictEqual(server.heard, ["one"])
    assert.strictEqual(yield* proxy.accepted, 1)
  }))

it.live("a cut resets what is open and what comes, until the line opens", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* start
    yield* client.send("one")
    yield* until(() => client.received.length > 0)
    yield* proxy.set("cut")
    yield* until(() => client.ended() !== undefined)
    assert.strictEqual(client.ended(), "ECONNRESET")
    const refused = yield* connect(proxy.port)
    yield* until(() => refused.ended() !== undefined)
    assert.strictEqual(yield* proxy.connections, 0)
    yield* proxy.set("open")
    const again = yield* connect(proxy.port)
    yield* again.send("two")
    yield* until(() => again.received.join("") === "TWO")
  }))

it.live("a stalled line loses nothing, and delivers in order when it opens", () =>
  Effect.gen(function*() {
    const { client, proxy, server } = yield* start
    yield* client.send("one")
    yield* until(() => client.received.join("") === "ONE")
    yield* proxy.set("stalled")
    yield* client.send("two")
    yield* client.send("three")
    yield* Effect.sleep("100 millis")
    assert.deepStrictEqual([server.heard.join(""), client.ended()], ["one", undefined])
    yield* proxy.set("open")
    yield* until(() => client.received.join("") === "ONETWOTHREE")
  }))

it.live("one direction stalls while the other passes", () =>
  Effect.gen(function*() {
    const { client, proxy, server } = yield* start
    yield* proxy.set("stalled-to-client")
    yield* client.send("one")
    yield* until(() => server.heard.length > 0)
    yield* Effect.sleep("100 millis")
    assert.deepStrictEqual(client.received, [])
    yield* proxy.set("stalled-to-server")
    yield* until(() => client.received.join("") === "ONE")
    yield* client.send("two")
    yield* Effect.sleep("100 millis")
    assert.strictEqual(server.heard.join(""), "one")
    yield* proxy.set("open")
    yield* until(() => client.received.join("") === "ONETWO")
  }))

it.live("latency holds every piece back and keeps the order", () =>
  Effect.gen(function*() {
    const { client, proxy } = yield* start
    yield* proxy.setLatency("20 millis")
    for (const word of ["a", "b", "c"]) yield* client.send(word)
    yield* until(() => client.received.join("") === "ABC")
  }))
