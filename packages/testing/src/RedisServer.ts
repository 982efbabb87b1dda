/**
 * A real Redis server for tests, in a temporary directory.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ServerProcess from "./internal/serverProcess.ts"

/**
 * There is no server here, or it did not start. `detail` names what to install, or holds the end of the server's log.
 *
 * @category errors
 * @since 0.1.0
 */
export class RedisUnavailable extends Data.TaggedError("RedisUnavailable")<{
  /** What is missing, or what the server said. */
  readonly detail: string
}> {
  override get message(): string {
    return `no Redis server for this test: ${this.detail}`
  }
}

/**
 * A running server of one test file. Nobody needs a password.
 *
 * @category services
 * @since 0.1.0
 */
export class RedisServer extends Context.Service<RedisServer, {
  /** The port on 127.0.0.1, the same after each start. */
  readonly port: number
  /** The address, as clients take it; `port` of a proxy in front, where there is one. */
  readonly url: (options?: { readonly port?: number }) => string
  /** Runs one command in `redis-cli`, and gives what it prints. */
  readonly cli: (...command: ReadonlyArray<string>) => Effect.Effect<string, RedisUnavailable>
  /** Kills the server (`SIGKILL`), and waits until it is gone. */
  readonly crash: Effect.Effect<void>
  /** Starts it again, on the same port and the same data. */
  readonly start: Effect.Effect<void, RedisUnavailable>
}>()("@effect-authn/testing/RedisServer") {}

/**
 * `settings` go onto the server's command line, such as `replicaof` or `maxmemory`. Its log of writes (`appendonly`) is on
 * unless they say otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly settings?: Readonly<Record<string, string>>
}

const program = "redis-server"

/**
 * Whether this machine has a server: for `it.runIf`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const isThere: boolean = ChildProcess.spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0

/**
 * Starts a server on a free port, and ends it and removes its directory when the scope closes. The programs are
 * `redis-server` and `redis-cli`, as Debian's package `redis-server` brings them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options?: Options
): Effect.fn.Return<RedisServer["Service"], RedisUnavailable, Scope.Scope> {
  if (!isThere) {
    return yield* new RedisUnavailable({
      detail: "install the package redis-server (apt-get install -y --no-install-recommends redis-server)"
    })
  }
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-redis-"))),
    (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
  )

  const { crash, port, start } = yield* ServerProcess.make({
    spawn: (free) => {
      const settings = {
        port: `${free}`,
        bind: "127.0.0.1",
        dir: directory,
        save: "",
        appendonly: "yes",
        ...options?.settings
      }
      const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`].concat(value.split(" ")))
      return ChildProcess.spawn(program, args, { cwd: directory, stdio: ["ignore", "pipe", "ignore"] })
    },
    log: "stdout",
    ready: "Ready to accept connections",
    signal: "SIGKILL",
    fail: (detail) => new RedisUnavailable({ detail })
  })

  return {
    port,
    url: (of) => `redis://127.0.0.1:${of?.port ?? port}`,
    cli: (...command) =>
      Effect.callback<string, RedisUnavailable>((resume) => {
        ChildProcess.execFile("redis-cli", ["-p", `${port}`, ...command], (error, stdout) =>
          resume(
            error === null
              ? Effect.succeed(stdout.trimEnd())
              : Effect.fail(new RedisUnavailable({ detail: error.message }))
          ))
      }),
    crash,
    start
  }
})

/**
 * The server, as long as the layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<RedisServer, RedisUnavailable> =>
  Layer.effect(RedisServer, make(options))
