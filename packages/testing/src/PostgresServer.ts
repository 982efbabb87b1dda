/**
 * A real PostgreSQL server for tests, in a temporary directory.
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
import * as Util from "node:util"
import * as ServerProcess from "./internal/serverProcess.ts"

/**
 * There is no server here, or it did not start. `detail` names what to install, or holds the end of the server's log.
 *
 * @category errors
 * @since 0.1.0
 */
export class PostgresUnavailable extends Data.TaggedError("PostgresUnavailable")<{
  /** What is missing, or what the server said. */
  readonly detail: string
}> {
  override get message(): string {
    return `no PostgreSQL server for this test: ${this.detail}`
  }
}

/**
 * A running server of one test file. Its only user is `postgres`, who needs no password.
 *
 * @category services
 * @since 0.1.0
 */
export class PostgresServer extends Context.Service<PostgresServer, {
  /** The port on 127.0.0.1, the same after each start. */
  readonly port: number
  /** The address of a database, `postgres` unless named, as drivers take it; `port` of a proxy in front, where there is one. */
  readonly url: (options?: { readonly database?: string; readonly port?: number }) => string
  /** Makes an empty database and gives its address. */
  readonly createDatabase: (name: string) => Effect.Effect<string, PostgresUnavailable>
  /** Runs statements in `psql`, each in a transaction of its own, and gives what it prints: values, one row a line. */
  readonly psql: (statements: string, database?: string) => Effect.Effect<string, PostgresUnavailable>
  /** Kills the server as a power cut would (`SIGQUIT`: no shutdown, recovery at the next start), and waits until it is gone. */
  readonly crash: Effect.Effect<void>
  /** Starts it again, on the same port and the same data. */
  readonly start: Effect.Effect<void, PostgresUnavailable>
}>()("@effect-authn/testing/PostgresServer") {}

/**
 * `settings` go onto the server's command line, such as `max_connections`. `isDurable`: writes are flushed to the disk, as in
 * production; otherwise a crash of the machine may lose them, and a crash of the server does not. `programs` is the directory of
 * `initdb`, `postgres` and `psql`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly settings?: Readonly<Record<string, string>>
  readonly isDurable?: boolean
  readonly programs?: string
}

const nobody = 65534

/** The directory of the server's programs: the newest of Debian's. */
const findPrograms = (): string | undefined => {
  const versions = "/usr/lib/postgresql"
  const found = Fs.existsSync(versions) ? Fs.readdirSync(versions) : []
  return found
    .sort((one, other) => Number(other) - Number(one))
    .map((version) => Path.join(versions, version, "bin"))
    .find((directory) => Fs.existsSync(Path.join(directory, "postgres")))
}

/**
 * Whether this machine has a server: for `it.runIf`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const isThere: boolean = findPrograms() !== undefined

/**
 * Starts a server on a free port, and ends it and removes its directory when the scope closes. The programs are those of
 * Debian's package `postgresql`, unless `programs` names their directory.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options?: Options
): Effect.fn.Return<PostgresServer["Service"], PostgresUnavailable, Scope.Scope> {
  const programs = options?.programs ?? findPrograms()
  if (programs === undefined) {
    return yield* new PostgresUnavailable({
      detail: "install the package postgresql (apt-get install -y --no-install-recommends postgresql), " +
        "or name the directory of its programs in the option `programs`"
    })
  }
  const root = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-postgres-"))),
    (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
  )
  // the server refuses to run as root
  const asNobody = process.getuid?.() === 0
  if (asNobody) {
    Fs.chmodSync(root, 0o755)
    Fs.chownSync(root, nobody, nobody)
  }
  const spawnOptions = {
    cwd: root,
    env: { LC_ALL: "C", TZ: "UTC", HOME: root, PGCONNECT_TIMEOUT: "5" },
    ...(asNobody ? { uid: nobody, gid: nobody } : {})
  }
  const data = Path.join(root, "data")

  const run = (program: string, ...args: ReadonlyArray<string>) =>
    Effect.map(
      Effect.tryPromise({
        try: () => Util.promisify(ChildProcess.execFile)(Path.join(programs, program), args, spawnOptions),
        catch: (cause) => new PostgresUnavailable({ detail: cause instanceof Error ? cause.message : program })
      }),
      ({ stdout }) => stdout.trimEnd()
    )

  yield* run(
    "initdb",
    "-D",
    data,
    "-U",
    "postgres",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "--locale=C",
    "--no-sync",
    "--no-instructions"
  )

  // commits still wait for the kernel, so that a crash of the server loses none
  const quick = { fsync: "off", full_page_writes: "off" }
  const server = yield* ServerProcess.make({
    spawn: (port) => {
      const settings = {
        port: `${port}`,
        listen_addresses: "127.0.0.1",
        unix_socket_directories: root,
        shared_buffers: "32MB",
        ...(options?.isDurable === true ? {} : quick),
        ...options?.settings
      }
      const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
      return ChildProcess.spawn(Path.join(programs, "postgres"), ["-D", data, ...args], {
        ...spawnOptions,
        stdio: ["ignore", "ignore", "pipe"]
      })
    },
    log: "stderr",
    ready: "ready to accept connections",
    signal: "SIGQUIT",
    fail: (detail) => new PostgresUnavailable({ detail })
  })
  const { port } = server

  const url = (of?: { readonly database?: string; readonly port?: number }) =>
    `postgres://postgres@127.0.0.1:${of?.port ?? port}/${of?.database ?? "postgres"}`

  return {
    port,
    url,
    createDatabase: (database) =>
      Effect.as(run("createdb", "-h", "127.0.0.1", "-p", `${port}`, "-U", "postgres", database), url({ database })),
    psql: (statements, database) =>
      run(
        "psql",
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        url(database === undefined ? {} : { database }),
        "-c",
        statements
      ),
    crash: server.crash,
    start: server.start
  }
})

/**
 * The server, as long as the layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<PostgresServer, PostgresUnavailable> =>
  Layer.effect(PostgresServer, make(options))
