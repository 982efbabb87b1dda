import { AuthManager, InteractiveStrategy, Session, TokenSet, TokenStorage } from "@effect-authn/core"
import { FileTokenStorage, NodeCallbackServer } from "@effect-authn/platform-node"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, FileSystem, Layer, Option, Redacted, Struct } from "effect"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { answers, grants, oidc, person, program, refreshTokenOf, setup, tokenOf } from "./fixtures.ts"

const processes = process.env["EFFECT_AUTHN_ROUNDS"] === undefined ? 4 : 16

const login = Effect.flatMap(AuthManager.AuthManager, (auth) => auth.login(InteractiveStrategy.browser()))

/** Makes the stored access token as old as can be. The provider knows nothing of it. */
const age = Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const auth = yield* AuthManager.AuthManager
  const session = Option.getOrThrow(yield* storage.get(auth.key))
  const expiresAt = Option.some(DateTime.subtract(yield* DateTime.now, { minutes: 1 }))
  const tokens = Object.fromEntries(
    Object.entries(session.tokens).map(([id, held]) => [id, TokenSet.TokenSet.make(Struct.assign(held, { expiresAt }))])
  )
  yield* storage.put(
    auth.key,
    Session.update(session, { tokens, generation: session.generation + 1 }),
    session.generation
  )
  return session
})

const refreshes = Effect.map(grants, (all) => all.filter((grant) => grant === "refresh_token").length)

const inProgram = <A, E>(effect: Effect.Effect<A, E, AuthManager.AuthManager | OidcProvider.OidcProvider>) =>
  Effect.provide(effect, Layer.fresh(program))

describe("under rotation, where a spent refresh token revokes the grant,", () => {
  it.live("a thousand fibers renew once", () =>
    Effect.gen(function*() {
      yield* login
      yield* age
      yield* inProgram(Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const tokens = yield* Effect.all(Array.from({ length: 1000 }, () => auth.token), { concurrency: "unbounded" })
        assert.strictEqual(new Set(tokens.map(({ accessToken }) => Redacted.value(accessToken))).size, 1)
        assert.strictEqual(yield* refreshes, 1)
      }))
      // The grant is alive: another renewal works.
      yield* age
      yield* inProgram(Effect.flatMap(AuthManager.AuthManager, (auth) => auth.token))
      assert.strictEqual(yield* refreshes, 2)
    }).pipe(Effect.provide(setup())))

  it.live("several selections queue up behind each other", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { resource } = yield* OidcProvider.OidcProvider
      const selection = { resource, scope: "api:read api:write" }
      yield* auth.login(InteractiveStrategy.browser(), { selection })
      const scopes = ["api:read", "api:write", "api:read api:write"]
      yield* Effect.all(
        scopes.flatMap((scope) => Array.from({ length: 20 }, () => auth.tokenFor({ resource, scope }))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* refreshes, 2)
      yield* auth.refresh()
    }).pipe(Effect.provide(setup())))

  const filed = (directory: string) =>
    Layer.fresh(program).pipe(
      Layer.provideMerge(oidc()),
      Layer.provideMerge(Layer.mergeAll(
        FileTokenStorage.layer({ directory }),
        NodeCallbackServer.layer(),
        ScriptedUserAgent.layerBrowser(answers),
        person
      ))
    )

  const child = Effect.fnUntraced(function*(directory: string, issuer: string) {
    const running = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [join(import.meta.dirname, "children", "renewer.ts"), directory, issuer], {
          stdio: ["pipe", "pipe", "inherit"]
        })
      ),
      (running) => Effect.sync(() => running.kill("SIGKILL"))
    )
    const lines = createInterface(running.stdout)[Symbol.asyncIterator]()
    const line = Effect.promise(async (): Promise<string> => {
      const next = await lines.next()
      return next.done === true ? "the process ended" : next.value
    })
    return { line, go: Effect.sync(() => running.stdin.end("go\n")) }
  })

  it.live(`${processes} processes renew once, three times over`, () =>
    Effect.gen(function*() {
      const directory = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
      const { errors, issuer } = yield* OidcProvider.OidcProvider
      yield* Effect.gen(function*() {
        yield* login
        for (let round = 1; round <= 3; round++) {
          const children = yield* Effect.all(Array.from({ length: processes }, () => child(directory, issuer)))
          for (const { line } of children) assert.strictEqual(yield* line, "ready")
          const before = yield* age
          for (const { go } of children) yield* go
          const tokens = yield* Effect.forEach(children, ({ line }) => line, { concurrency: "unbounded" })
          assert.strictEqual(new Set(tokens).size, 1)
          assert.notStrictEqual(tokens[0], tokenOf(before))
          assert.strictEqual(yield* refreshes, round)
        }
        const auth = yield* AuthManager.AuthManager
        yield* auth.refresh()
        assert.deepStrictEqual(yield* errors, [])
      }).pipe(Effect.provide(filed(directory)))
    }).pipe(Effect.scoped, Effect.provide([OidcProvider.layer(), NodeFileSystem.layer])), 300_000)
})

describe("a dead grant", () => {
  it.live("is sent once, and never again by any program", () =>
    Effect.gen(function*() {
      const session = yield* login
      const iam = yield* OidcProvider.OidcProvider
      // Somebody else spends the refresh token: the provider revokes the grant when it comes again.
      yield* spend(iam.issuer, refreshTokenOf(session)!)
      yield* age
      const before = yield* refreshes
      for (let programs = 0; programs < 3; programs++) {
        yield* inProgram(Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          for (let calls = 0; calls < 20; calls++) {
            const error = yield* Effect.flip(auth.token)
            assert.strictEqual(error._tag, "ReauthenticationRequired")
            assert.include(error.message, "invalid_grant")
          }
          assert.isFalse(yield* auth.isAuthenticated)
        }))
      }
      assert.strictEqual(yield* refreshes, before + 1)
    }).pipe(Effect.provide(setup())))
})

describe("faults", () => {
  for (const fault of ["token:503:1", "token:500:1", "token:html502:1"] as const) {
    it.live(`${fault}: the session is good again when the provider is`, () =>
      Effect.gen(function*() {
        const { proxy } = yield* OidcProvider.OidcProvider
        yield* login
        yield* age
        yield* proxy.setKnobs({ fail: [fault] })
        yield* inProgram(Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          const token = yield* Effect.retry(auth.token, { times: 3 })
          assert.isAbove(Redacted.value(token.accessToken).length, 20)
        }))
      }).pipe(Effect.provide(setup())))
  }

  it.live("a lost answer: the provider has rotated, and the person is told that the answer was lost", () =>
    Effect.gen(function*() {
      const { proxy } = yield* OidcProvider.OidcProvider
      yield* login
      yield* age
      yield* proxy.setKnobs({ fail: ["token:lost:1"] })
      yield* inProgram(Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const error = yield* Effect.flip(Effect.retry(auth.token, {
          times: 5,
          while: ({ _tag }) => _tag === "IamError"
        }))
        assert.strictEqual(error._tag, "ReauthenticationRequired")
        assert.include(error.message, "the answer to an earlier renewal was lost")
      }))
    }).pipe(Effect.provide(setup())))

  it.live("a valid token is served while the provider is away", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const { proxy } = yield* OidcProvider.OidcProvider
      const session = yield* login
      yield* proxy.setKnobs({ fail: ["token:503:99"] })
      yield* Effect.exit(auth.refresh())
      assert.strictEqual(Redacted.value((yield* auth.token).accessToken), tokenOf(session))
    }).pipe(Effect.provide(setup())))
})

const spend = (issuer: string, refreshToken: string) =>
  Effect.promise(async () => {
    const response = await fetch(`${issuer}/token`, {
      method: "POST",
      body: new URLSearchParams({ grant_type: "refresh_token", client_id: "cli", refresh_token: refreshToken })
    })
    assert.strictEqual(response.status, 200)
  })
