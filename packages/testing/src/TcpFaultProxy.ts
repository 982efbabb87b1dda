/**
 * A line on loopback between a program and a server, whatever they speak, that can be cut, stalled and slowed down.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"

/**
 * The state of the line:
 *
 * - `open`: bytes pass in both directions.
 * - `cut`: the connections that are there are reset, and so is each new one.
 * - `stalled`: connections stay and open, and no byte passes, as when a cable is pulled: what was sent arrives later, when
 *   the line opens again.
 * - `stalled-to-server` and `stalled-to-client`: the same in one direction only.
 *
 * @category models
 * @since 0.1.0
 */
export type Line = "open" | "cut" | "stalled" | "stalled-to-server" | "stalled-to-client"

/**
 * Where a server listens. `host` is 127.0.0.1 unless said otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  readonly host?: string
  readonly port: number
}

/**
 * A running line.
 *
 * @category models
 * @since 0.1.0
 */
export interface TcpFaultProxy {
  /** The port on 127.0.0.1 at which it listens, the same until its scope closes. */
  readonly port: number
  /** Names the server behind it, for connections from now on. Until then each connection is reset. */
  readonly forwardTo: (target: Target) => Effect.Effect<void>
  /** Changes the state of the line, at once and for every connection. */
  readonly set: (line: Line) => Effect.Effect<void>
  /** Holds back every piece of data for that long, in each direction. Zero at first. */
  readonly setLatency: (latency: Duration.Input) => Effect.Effect<void>
  /** Resets the connections that are there. New ones meet the line as it is. */
  readonly reset: Effect.Effect<void>
  /** How many connections of clients are open now. */
  readonly connections: Effect.Effect<number>
  /** How many connections clients have opened so far. */
  readonly accepted: Effect.Effect<number>
}

type Direction = "to-server" | "to-client"

/**
 * Starts a line on 127.0.0.1, at a free port, until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<TcpFaultProxy, never, Scope.Scope> = Effect.gen(function*() {
  const pairs = new Set<{ readonly client: Net.Socket; readonly server: Net.Socket }>()
  let waiting: Array<() => void> = []
  let target: Target | undefined
  let line: Line = "open"
  let latency = 0
  let accepted = 0

  const reset = () => {
    for (const { client, server } of pairs) {
      client.resetAndDestroy()
      server.resetAndDestroy()
    }
  }

  const isStalled = (direction: Direction) => line === "stalled" || line === `stalled-${direction}`

  const pass = (direction: Direction, deliver: () => void) => {
    const attempt = () => {
      if (isStalled(direction)) waiting.push(attempt)
      else deliver()
    }
    // Data of a socket arrives outside any fiber.
    // oxlint-disable-next-line effecttsgo/global-timers
    if (latency > 0) setTimeout(attempt, latency).unref()
    else attempt()
  }

  // One piece at a time, so that the order stays and a stalled reader holds its writer back.
  const carry = (from: Net.Socket, to: Net.Socket, direction: Direction) => {
    from.on("data", (bytes: Uint8Array) => {
      from.pause()
      pass(direction, () => {
        if (!to.destroyed) to.write(bytes, () => from.resume())
      })
    })
    from.once("end", () => pass(direction, () => to.end()))
    from.once("error", () => to.resetAndDestroy())
    from.once("close", () => {
      if (from.readableAborted) to.resetAndDestroy()
    })
  }

  const server = Net.createServer({ allowHalfOpen: true }, (client) => {
    accepted += 1
    client.on("error", () => client.destroy())
    if (line === "cut" || target === undefined) {
      client.resetAndDestroy()
      return
    }
    const onward = Net.connect({ host: "127.0.0.1", allowHalfOpen: true, ...target })
    const pair = { client, server: onward }
    pairs.add(pair)
    client.once("close", () => {
      pairs.delete(pair)
    })
    carry(client, onward, "to-server")
    carry(onward, client, "to-client")
  })

  const port = yield* Effect.callback<number>((resume) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
    })
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      server.close()
      reset()
    })
  )

  return {
    port,
    forwardTo: (next) =>
      Effect.sync(() => {
        target = next
      }),
    set: (next) =>
      Effect.sync(() => {
        line = next
        if (next === "cut") reset()
        const again = waiting
        waiting = []
        for (const attempt of again) attempt()
      }),
    setLatency: (next) =>
      Effect.sync(() => {
        latency = Duration.toMillis(next)
      }),
    reset: Effect.sync(reset),
    connections: Effect.sync(() => pairs.size),
    accepted: Effect.sync(() => accepted)
  }
})
