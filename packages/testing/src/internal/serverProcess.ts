/** A real server of a test: a process on a free port, which is killed and started again. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as ChildProcess from "node:child_process"
import * as Net from "node:net"

const freePort = Effect.callback<number>((resume) => {
  const probe = Net.createServer()
  probe.listen(0, "127.0.0.1", () => {
    const address = probe.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    probe.close(() => resume(Effect.succeed(port)))
  })
})

/** Starts the server, and ends it when the scope closes. */
export const make = Effect.fnUntraced(function*<E>(options: {
  /** Starts the process, with the stream of its log piped. */
  readonly spawn: (port: number) => ChildProcess.ChildProcess
  readonly log: "stdout" | "stderr"
  /** What the log says when the server takes connections. */
  readonly ready: string
  /** What ends it without giving it time to put things in order. */
  readonly signal: NodeJS.Signals
  readonly fail: (detail: string) => E
}) {
  const launch = (port: number) =>
    Effect.callback<ChildProcess.ChildProcess, E>((resume) => {
      const child = options.spawn(port)
      let log = ""
      const fail = (detail: string) => resume(Effect.fail(options.fail(detail)))
      child.once("error", (error) => fail(error.message))
      child.once("exit", () => fail(log))
      child[options.log]?.on("data", (chunk: Uint8Array) => {
        log = `${log}${Buffer.from(chunk).toString()}`.slice(-4000)
        if (log.includes(options.ready)) resume(Effect.succeed(child))
      })
      return Effect.sync(() => child.kill("SIGKILL"))
    }).pipe(Effect.timeoutOrElse({
      duration: "30 seconds",
      orElse: () => Effect.fail(options.fail("it did not start within 30 seconds"))
    }))

  let running: ChildProcess.ChildProcess | undefined
  const crash = Effect.callback<void>((resume) => {
    const child = running
    running = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      resume(Effect.void)
      return
    }
    child.once("exit", () => resume(Effect.void))
    child.kill(options.signal)
  })
  yield* Effect.addFinalizer(() => crash)

  // somebody else may take the free port before the server does
  const [port, first] = yield* Effect.retry(
    Effect.flatMap(freePort, (free) => Effect.map(launch(free), (child) => [free, child] as const)),
    Schedule.recurs(4)
  )
  running = first

  return {
    port,
    /** Ends the server, and waits until it is gone. */
    crash,
    /** Starts it again, on the same port. */
    start: Effect.map(launch(port), (child) => {
      running = child
    })
  }
})
