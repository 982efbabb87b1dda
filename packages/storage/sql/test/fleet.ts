/** Programs that share one session in a database. */
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as GenomcoreIam from "@effect-authn/iam-genomcore/GenomcoreIam"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeSqlite from "@effect-authn/platform-node/NodeSqlite"
import * as SqlTokenStorage from "@effect-authn/storage-sql/SqlTokenStorage"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Struct from "effect/Struct"
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { pool } from "./postgres.ts"

/** Which IAM, and which database: the address of a PostgreSQL, or the name of a file. */
export interface Setup {
  readonly issuer: string
  readonly url?: string
  readonly filename?: string
  readonly connections?: number
}

export const storage = ({ connections = 2, filename, url }: Setup) =>
  SqlTokenStorage.layer({ changes: "none" }).pipe(
    Layer.provide(
      url === undefined
        ? NodeSqlite.layer({ filename: filename ?? "" })
        : pool(url, { maxConnections: connections })
    )
  )

export const program = (setup: Setup) =>
  Layer.fresh(NodeAuth.layer(GenomcoreIam.layer({ host: setup.issuer }), { storage: storage(setup) }))

const password = Redacted.make("correct-horse-battery")

/** Signs in, and leaves the session in the database with tokens that ended a second ago. */
export const signInExpired = (setup: Setup) =>
  Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    const stored = yield* TokenStorage.TokenStorage
    yield* auth.login(AuthStrategy.password({ handle: "ada", password }), { selection: { organization: "acme" } })
    const session = yield* Effect.flatMap(stored.get(auth.key), Effect.fromOption)
    const now = yield* DateTime.now
    const ended = Object.fromEntries(
      Object.entries(session.tokens).map(([id, held]) => [
        id,
        TokenSet.TokenSet.make(Struct.assign(held, {
          issuedAt: DateTime.subtractDuration(now, "1 hour"),
          expiresAt: Option.some(DateTime.subtractDuration(now, "1 second"))
        }))
      ])
    )
    const generation = Session.nextGeneration(session.generation, now)
    yield* stored.put(auth.key, Session.update(session, { tokens: ended, generation }), session.generation)
  }).pipe(Effect.provide(program(setup)), Effect.scoped)

/** A process of its own, of another user where one is named, killed at the end of the scope: its lines come in order. */
export const child = (name: string, orders: object, uid?: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        ChildProcess.spawn(process.execPath, [
          Path.join(import.meta.dirname, "children", `${name}.ts`),
          JSON.stringify(orders)
        ], {
          env: { ...process.env, NODE_COMPILE_CACHE: Path.join(import.meta.dirname, "../node_modules/.cache/compile") },
          stdio: ["ignore", "pipe", "inherit"],
          ...(uid === undefined ? {} : { uid })
        })
      ),
      (running) => Effect.sync(() => running.kill("SIGKILL"))
    ),
    (running) => {
      const lines = Readline.createInterface(running.stdout)[Symbol.asyncIterator]()
      return Effect.promise(() => lines.next()).pipe(Effect.map(({ value }) => `${value}`))
    }
  )
