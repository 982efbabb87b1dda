/** Row 13 of the conformance table: a session is exported as a plain document, and imported by another client. */
import { AuthManager, Session } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted, Schema } from "effect"
import { TestClock } from "effect/testing"
import { jwt, refreshTokenOf, shown } from "../fixtures.ts"
import { bare, bearer, client, passwordLogin, projectId, renewed, simulated, tokenWith } from "./managers.ts"

type Auth = AuthManager.AuthManager["Service"]

const environments = { prod: "https://auth.example.com", dev: "https://auth-dev.example.com" }

/** Everything of a session that travels. */
const told = (auth: Auth) =>
  Effect.map(auth.session, (session) => {
    const { current, grant, key, tokens } = Option.getOrThrow(session)
    return { current, key, tokens, refreshToken: refreshTokenOf({ grant }) }
  })

const misconfigured = (auth: Auth, document: unknown, ...secrets: ReadonlyArray<string>) =>
  Effect.map(Effect.flip(auth.import(document)), (error) => {
    assert.strictEqual(error._tag === "IamError" && error.reason._tag, "Misconfigured")
    for (const secret of secrets) assert.notInclude(`${error.stack}${shown(error)}`, secret)
    return error.message
  })

describe("row 13 to_json: normal", () => {
  it.effect("row 13: an export has the seed's three keys and what goes with them, without a request", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated()
      const { auth } = yield* client(simulator)
      const session = yield* auth.login(passwordLogin("borealis"))
      const document = yield* auth.export
      assert.deepStrictEqual<unknown>(document, {
        version: 1,
        token: Redacted.value(Option.getOrThrow(Session.currentToken(session)).accessToken),
        refresh_token: refreshTokenOf(session),
        env: "prod",
        token_type: "Bearer",
        host: simulator.issuer,
        organization: "acme",
        project: "borealis",
        account: "default"
      })
      assert.deepStrictEqual((yield* simulator.ledger).map(({ route }) => route), ["login"])
    }))
})

describe("row 13 to_json: edge", () => {
  const Word = Schema.String.check(Schema.isMinLength(1), Schema.makeFilter((text) => text.isWellFormed()))
  const Document = Schema.Struct({
    version: Schema.Literal(1),
    token: Schema.Union([
      Schema.Record(Schema.String, Schema.Json).pipe(Schema.check(Schema.isMaxProperties(4))),
      Schema.Literals(["opaque", "a.b.c", "x~y"])
    ]),
    refresh_token: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\x20-\x7e]+$/))),
    env: Schema.Literals(["prod", "dev"]),
    token_type: Schema.Literals(["Bearer", "JWT", "bearer"]),
    organization: Schema.optionalKey(Word),
    project: Schema.optionalKey(Word),
    resource: Schema.optionalKey(Word),
    scope: Schema.optionalKey(Schema.Literals(["read", "read write"]))
  })

  it.effect.prop(
    "row 13: round trip is the identity, also through text",
    [Document],
    ([generated]) =>
      Effect.scoped(Effect.gen(function*() {
        const { env, token } = generated
        const document: object = {
          ...generated,
          token: typeof token === "string" ? token : jwt(token),
          host: environments[env],
          account: "default"
        }
        const here = yield* client({ environments, env })
        const there = yield* client({ environments, env })
        yield* here.auth.import(document)
        const exported = yield* here.auth.export
        assert.deepStrictEqual({ ...exported }, document)
        yield* there.auth.import(JSON.parse(JSON.stringify(exported)))
        assert.deepStrictEqual(yield* told(there.auth), yield* told(here.auth))
        assert.deepStrictEqual(yield* there.auth.export, exported)
        assert.deepStrictEqual([there.genomcore.env, there.genomcore.host], [env, environments[env]])
      }))
  )

  it.effect("row 13: each export is a copy of its own, and has the pair of the last renewal", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      yield* auth.import({ token: tokenWith(3600), refresh_token: "r-0" })
      const first = yield* auth.export
      assert.deepStrictEqual(yield* auth.export, first)
      assert.notStrictEqual(yield* auth.export, first)
      Object.assign(first, { token: "changed" })
      assert.strictEqual((yield* auth.export)["token"], tokenWith(3600))
      yield* auth.refresh({ project: "FD2" })
      assert.deepInclude(yield* auth.export, { ...pairOf(renewed(0)), project: "FD2" })
    }))

  it.effect("row 13: a client that spells in camelCase, and null and undefined, can be read", () =>
    Effect.gen(function*() {
      const { auth, origin } = yield* bare()
      for (const nothing of [null, undefined]) {
        yield* auth.import({
          token: tokenWith(3600),
          refreshToken: "r-0",
          tokenType: "JWT",
          env: nothing,
          version: nothing,
          refresh_token: nothing,
          project: nothing,
          extra: { of: "theirs" }
        })
        assert.deepStrictEqual(yield* auth.export, {
          version: 1,
          token: tokenWith(3600),
          refresh_token: "r-0",
          token_type: "JWT",
          env: "prod",
          host: origin,
          account: "default"
        })
      }
    }))

  it.effect("row 13: an import sends nothing, also with an expired token, which the first bearer renews", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      yield* auth.import({ token: tokenWith(-86_400), refresh_token: "r-0" })
      assert.isTrue(yield* auth.isAuthenticated)
      assert.strictEqual(seen.length, 0)
      assert.strictEqual(yield* bearer(auth), `Bearer ${renewed(0).token}`)
      assert.strictEqual(seen.length, 1)
    }))

  it.effect("row 13: what another client exported works in this one, is renewed, and is for the same project", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated({ rotation: "strict" })
      const here = yield* client(simulator)
      yield* here.auth.login(passwordLogin("borealis"))
      const there = yield* client({ host: `${simulator.issuer}/` })
      yield* there.auth.import(yield* here.auth.export)
      yield* TestClock.adjust("50 minutes")
      assert.strictEqual(yield* projectId(there), 2)
      assert.deepStrictEqual([yield* simulator.refreshes, yield* simulator.notes], [1, []])
    }))

  it.effect("row 13: an import takes the place of the session there was, and stays if it is not to be stored", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      yield* auth.import({ token: tokenWith(1000), refresh_token: "r-0", project: "FD1" })
      yield* auth.import({ token: tokenWith(2000) }, { store: false })
      assert.deepStrictEqual((yield* told(auth)).refreshToken, undefined)
      assert.strictEqual(yield* bearer(auth), `Bearer ${tokenWith(2000)}`)
      assert.deepStrictEqual(Option.map(yield* auth.storedToken, Redacted.value), Option.some(tokenWith(1000)))
    }))
})

describe("row 13 to_json: failure", () => {
  it.effect("row 13: another environment, a foreign host, a newer version or no document changes nothing", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      const good = { token: tokenWith(3600), refresh_token: "canary-refresh" }
      yield* auth.import(good)
      const before = yield* told(auth)
      for (
        const [document, named] of [
          [{ ...good, env: "staging" }, `"staging"`],
          [{ ...good, host: "https://evil.example" }, "another host"],
          [{ ...good, version: 2 }, "version 2"],
          [{ ...good, refresh_token: 42 }, "refresh_token"],
          [{ refresh_token: "canary-refresh" }, "token"],
          [[good], "document"],
          ["canary-refresh", "document"],
          [null, "document"]
        ] as const
      ) {
        assert.include(yield* misconfigured(auth, document, good.token, "canary"), named)
      }
      assert.deepStrictEqual(yield* told(auth), before)
      assert.strictEqual(seen.length, 0)
    }))

  it.effect("row 13: nobody's session cannot be exported", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      assert.strictEqual((yield* Effect.flip(auth.export))._tag, "NotAuthenticated")
    }))

  it.effect("row 13: session and manager, as JSON, inspected or in a template, show no token", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      const token = tokenWith(3600, { canary: true })
      for (const store of [true, false]) {
        yield* auth.import({ token, refresh_token: "canary-refresh" }, { store })
        yield* auth.bearer
        yield* auth.claims
        const state = yield* auth.session
        for (const value of [state, Option.getOrThrow(state), auth, AuthManager.AuthManager.of(auth)]) {
          for (const text of [token, "canary-refresh"]) assert.notInclude(shown(value), text)
        }
      }
    }))
})

const pairOf = ({ refreshToken, token }: { readonly token: string; readonly refreshToken: string }) => ({
  token,
  refresh_token: refreshToken
})
