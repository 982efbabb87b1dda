// Whole programs, as `NodeAuth.layer` makes them, over storages that are shared, out of order, or both.
import { AuthManager, AuthStrategy } from "@effect-authn/core"
import { IamSimulator, PostgresServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { child, program, type Setup } from "./fleet.ts"

// A file system of its own, and a program of another user, are for root on Linux, as in CI.
const isRoot = process.platform === "linux" && process.getuid?.() === 0
if (!isRoot) {
  console.warn("LEFT OUT: SQLite on a full disk, a read-only one, and one of another user, which need root on Linux")
}

const nobody = 65534

const temporary = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-programs-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

/** The manager of a program that runs until the scope closes. */
const started = (setup: Setup) => Effect.map(Layer.build(program(setup)), Context.get(AuthManager.AuthManager))

const signIn = (auth: AuthManager.AuthManager["Service"]) =>
  auth.login(AuthStrategy.password({ handle: "ada", password: Redacted.make("correct-horse-battery") }), {
    selection: { organization: "acme" }
  })

const shown = (auth: AuthManager.AuthManager["Service"]) =>
  Effect.map(auth.token, ({ accessToken }) => Redacted.value(accessToken))

/** What the next program says instead of a token: an error of its layers, or one of the call. */
const complaint = (setup: Setup) =>
  started(setup).pipe(
    Effect.flatMap(shown),
    Effect.scoped,
    Effect.flip,
    Effect.map((error) => {
      assert.include(["SqlError", "TokenStorageError"], error._tag)
      return error.message
    })
  )

const simulated = <A, E>(test: (issuer: string) => Effect.Effect<A, E, Scope.Scope>) =>
  Effect.flatMap(IamSimulator.IamSimulator, ({ issuer }) => Effect.scoped(test(issuer))).pipe(
    Effect.provide(Layer.fresh(IamSimulator.layer({ tokenLifetime: "1 hour", rotation: "strict" })))
  )

const together = (setup: Setup) =>
  Effect.gen(function*() {
    const one = yield* started(setup)
    const other = yield* started(setup)
    yield* signIn(one)
    const token = yield* shown(one)
    assert.strictEqual(yield* shown(other), token)
    yield* other.refresh()
    const renewed = yield* shown(other)
    assert.notStrictEqual(renewed, token)
    // whoever renews next takes what the other one wrote
    yield* one.refresh()
    assert.strictEqual(yield* shown(one), renewed)
    yield* other.logout
    assert.strictEqual(
      (yield* Effect.flip(Effect.scoped(Effect.flatMap(started(setup), shown))))._tag,
      "NotAuthenticated"
    )
    assert.strictEqual((yield* Effect.flip(one.refresh()))._tag, "NotAuthenticated")
  })

describe("two programs sign in, renew and sign out for each other", { concurrent: false }, () => {
  it.live("on one SQLite file", () =>
    simulated((issuer) =>
      Effect.flatMap(
        temporary,
        (directory) => together({ issuer, filename: Path.join(directory, "private", "sessions.sqlite") })
      )
    ))

  it.live.runIf(PostgresServer.isThere)(
    "on PostgreSQL",
    () =>
      simulated((issuer) => Effect.flatMap(PostgresServer.make(), (server) => together({ issuer, url: server.url() })))
  )
})

/** Puts a file out of order while no program has it open, and gives what brings it back. */
type Harm = (filename: string) => () => void

const edited = (statement: string, back: string): Harm => (filename) => {
  const edit = (text: string) => {
    const database = new DatabaseSync(filename)
    database.exec(text)
    database.close()
  }
  edit(statement)
  return () => edit(back)
}

const overwritten = (from: number): Harm => (filename) => {
  const whole = Fs.readFileSync(filename)
  Fs.writeFileSync(filename, Buffer.concat([whole.subarray(0, from), Buffer.alloc(whole.length - from, 0xa5)]))
  return () => Fs.writeFileSync(filename, whole)
}

const harms: ReadonlyArray<readonly [name: string, harm: Harm, words: RegExp]> = [
  [
    "tables of a newer version",
    edited(
      "INSERT INTO effect_authn_migrations (migration_id, name) VALUES (7, 'later')",
      "DELETE FROM effect_authn_migrations WHERE migration_id = 7"
    ),
    /of version 7, this program knows \d+: update this program/
  ],
  [
    "a table that is missing",
    edited("ALTER TABLE effect_authn_leases RENAME TO away", "ALTER TABLE away RENAME TO effect_authn_leases"),
    /no such table: effect_authn_leases.*run SqlTokenStorage.migrate/s
  ],
  ["a header of something else", overwritten(0), /file is not a database: ".*sessions\.sqlite": choose another file/],
  ["damaged pages", overwritten(4096), /malformed.*put a backup in its place/s],
  [
    "a directory in which others can write",
    (filename) => {
      Fs.chmodSync(Path.dirname(filename), 0o777)
      return () => Fs.chmodSync(Path.dirname(filename), 0o700)
    },
    /chmod -R go=/
  ]
]

describe("a program whose SQLite file is out of order says what to do, and has its session afterwards", {
  concurrent: false
}, () => {
  for (const [name, harm, words] of harms) {
    it.live(name, () =>
      simulated((issuer) =>
        Effect.gen(function*() {
          const filename = Path.join(yield* temporary, "private", "sessions.sqlite")
          const setup = { issuer, filename }
          const token = yield* Effect.scoped(
            Effect.flatMap(started(setup), (auth) => Effect.andThen(signIn(auth), shown(auth)))
          )
          const mend = harm(filename)
          const refused = started(setup).pipe(
            Effect.flatMap((auth) => auth.refresh()),
            Effect.scoped,
            Effect.flip,
            Effect.map(({ message }) => message)
          )
          assert.match(yield* refused, words)
          mend()
          assert.strictEqual(yield* Effect.scoped(Effect.flatMap(started(setup), shown)), token)
        })
      ))
  }

  const mount = (...args: ReadonlyArray<string>) => ChildProcess.execFileSync("mount", args)

  it.live.runIf(isRoot)("a disk that is full, then read-only", () =>
    simulated((issuer) =>
      Effect.gen(function*() {
        const directory = Path.join(yield* temporary, "disk")
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            Fs.mkdirSync(directory)
            mount("-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", directory)
          }),
          () => Effect.sync(() => ChildProcess.execFileSync("umount", ["--lazy", directory]))
        )
        const setup = { issuer, filename: Path.join(directory, "sessions.sqlite") }
        const filler = Path.join(directory, "filler")
        const renewed = yield* Effect.scoped(Effect.gen(function*() {
          const auth = yield* started(setup)
          yield* signIn(auth)
          const token = yield* shown(auth)
          assert.throws(() => Fs.writeFileSync(filler, Buffer.alloc(2 ** 21)), /ENOSPC/)
          // the log may have room for some writes yet
          const full = yield* Effect.flip(Effect.repeat(auth.refresh(), { times: 100 }))
          assert.match(full.message, /free some space/)
          assert.isDefined(yield* shown(auth))
          Fs.rmSync(filler)
          yield* auth.refresh()
          assert.notStrictEqual(yield* shown(auth), token)
          return yield* shown(auth)
        }))
        yield* Effect.sync(() => mount("-o", "remount,ro", directory))
        assert.match(yield* complaint(setup), /read-?only/i)
        yield* Effect.sync(() => mount("-o", "remount,rw", directory))
        assert.strictEqual(yield* Effect.scoped(Effect.flatMap(started(setup), shown)), renewed)
      })
    ))

  it.live.runIf(isRoot)(
    "a directory of another user, and one that this user may not enter",
    () =>
      simulated((issuer) =>
        Effect.gen(function*() {
          const directory = yield* temporary
          const filename = Path.join(directory, "private", "sessions.sqlite")
          const setup = { issuer, filename }
          const token = yield* Effect.scoped(
            Effect.flatMap(started(setup), (auth) => Effect.andThen(signIn(auth), shown(auth)))
          )
          Fs.writeFileSync(Path.join(directory, "go"), "")
          Fs.chmodSync(directory, 0o755)
          const stranger = yield* child("caller", { ...setup, go: Path.join(directory, "go") }, nobody)
          const said = yield* stranger
          assert.match(said, /unable to open database file.*(permission|access|EACCES|owner|user)/is)
          Fs.chownSync(Path.dirname(filename), nobody, nobody)
          assert.match(yield* complaint(setup), /unable to open database file.*(owner|user|owned)/is)
          Fs.chownSync(Path.dirname(filename), 0, 0)
          assert.strictEqual(yield* Effect.scoped(Effect.flatMap(started(setup), shown)), token)
        })
      )
  )
})
