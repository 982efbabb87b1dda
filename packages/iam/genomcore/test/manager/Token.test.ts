/** Rows of the conformance table about what a session holds and shows: 1 to 4, 7, 10, 11 and 14. */
import { type AuthManager, Jwks, JwtCodec, Session, type TokenSet } from "@effect-authn/core"
import type { GenomcoreIam } from "@effect-authn/iam-genomcore"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { refreshTokenOf, secret, shown } from "../fixtures.ts"
import { bare, client, passwordLogin, projectId, renewed, renewing, simulated, T, tokenWith } from "./managers.ts"

const { json } = BareServer

type Auth = AuthManager.AuthManager["Service"]

/** The pair that a session holds, without a renewal. */
const pairOf = (auth: Auth) =>
  Effect.map(auth.session, (session) =>
    Option.map(session, (session) => [
      Option.getOrUndefined(Option.map(Session.currentToken(session), (held) => Redacted.value(held.accessToken))),
      refreshTokenOf(session)
    ]).pipe(Option.getOrUndefined))

const first = tokenWith(3600, { projectId: 1 })

describe("row 1 constructor", () => {
  it.effect("row 1: a pair is taken as it is, without a request", () =>
    Effect.gen(function*() {
      for (const token of [first, tokenWith(-10), "garbage", `Bearer ${first}`]) {
        const { auth, seen } = yield* bare()
        yield* auth.import({ token, refresh_token: "r-0", env: "prod" })
        assert.deepStrictEqual(yield* pairOf(auth), [token.replace("Bearer ", ""), "r-0"])
        assert.strictEqual(seen.length, 0)
      }
    }))

  it.effect("row 1: with nothing but a set-up one can sign in", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated()
      const { auth } = yield* client(simulator)
      assert.isUndefined(yield* pairOf(auth))
      yield* auth.login(passwordLogin())
      assert.lengthOf((yield* pairOf(auth)) ?? [], 2)
      assert.deepStrictEqual((yield* simulator.ledger).map(({ route }) => route), ["login"])
    }))
})

describe("row 2, row 3, row 4: env, token and refresh_token", () => {
  // The compiler refuses what Python refuses when it runs.
  const assigned = (
    genomcore: GenomcoreIam.GenomcoreIam["Service"],
    session: Session.Session,
    held: TokenSet.TokenSet
  ) => {
    // @ts-expect-error row 2: the environment is read-only
    genomcore.env = "dev"
    // @ts-expect-error row 3: the access token is read-only
    held.accessToken = secret("other")
    // @ts-expect-error row 4: the refresh token is read-only
    session.grant = { _tag: "None" }
  }
  void assigned

  it.effect("row 3, row 4: the pair is what came in, and what the last renewal brought", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      yield* auth.import({ token: first, refresh_token: "r-0" })
      assert.deepStrictEqual(yield* pairOf(auth), [first, "r-0"])
      yield* auth.refresh()
      assert.deepStrictEqual(yield* pairOf(auth), [renewed(0).token, "r-1"])
    }))

  it.effect("row 4: an answer without a refresh token keeps the old one, and it is sent again", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated({ rotation: "strict", omitRefreshToken: true })
      const { auth } = yield* client(simulator)
      yield* auth.login(passwordLogin())
      const before = yield* pairOf(auth)
      for (const _ of [1, 2]) yield* auth.refresh()
      const after = yield* pairOf(auth)
      assert.strictEqual(after?.[1], before?.[1])
      assert.notStrictEqual(after?.[0], before?.[0])
      assert.deepStrictEqual([yield* simulator.refreshes, yield* simulator.notes], [2, []])
    }))

  it.effect("row 3, row 4: a failed renewal changes neither", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare(() => json(400, { message: "no" }))
      yield* auth.import({ token: first, refresh_token: "r-0" })
      yield* Effect.flip(auth.refresh())
      assert.deepStrictEqual(yield* pairOf(auth), [first, "r-0"])
    }))

  it.effect("row 3: the bare login leaves the session alone", () =>
    Effect.gen(function*() {
      const { auth, genomcore, seen } = yield* bare()
      yield* auth.import({ token: first, refresh_token: "r-0" })
      yield* genomcore.login({ username: "bob", password: secret("pw"), organizationId: "acme" })
      assert.deepStrictEqual(yield* pairOf(auth), [first, "r-0"])
      assert.strictEqual(seen.length, 1)
    }))
})

describe("row 7 decoded_token", () => {
  const nested = { user: { name: "Ådå 🔑", roles: [{ id: 1 }] }, list: [[{ deep: true }]], nothing: null }

  it.effect("row 7: the claims are read once: a second read is the same object", () =>
    Effect.gen(function*() {
      const { auth, seen } = yield* bare()
      yield* auth.import({ token: tokenWith(3600, nested), refresh_token: "r-0" })
      const claims = yield* auth.claims
      assert.deepInclude(claims, { sub: "1", ...nested })
      assert.strictEqual(yield* auth.claims, claims)
      assert.strictEqual(seen.length, 0)
    }))

  it.effect("row 7: they are frozen, at every depth", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      yield* auth.import({ token: tokenWith(3600, nested), refresh_token: "r-0" })
      const thawed: Array<unknown> = []
      const check = (value: unknown): void => {
        if (typeof value !== "object" || value === null) return
        if (!Object.isFrozen(value)) thawed.push(value)
        Object.values(value).forEach(check)
      }
      const claims = yield* auth.claims
      check(claims)
      assert.deepStrictEqual(thawed, [])
      assert.throws(() => Object.assign(claims, { sub: "2" }), TypeError)
    }))

  it.effect("row 7: after a renewal they are those of the new token", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      yield* auth.import({ token: first, refresh_token: "r-0" })
      const before = yield* auth.claims
      yield* auth.refresh()
      const after = yield* auth.claims
      assert.deepStrictEqual([before["number"], after["number"]], [undefined, 1])
      assert.strictEqual(yield* auth.claims, after)
      yield* TestClock.adjust("2701 seconds")
      assert.strictEqual((yield* auth.claims)["number"], 2)
    }))

  it.effect("row 7: an expired token still decodes, without a request", () =>
    Effect.gen(function*() {
      const { auth, genomcore, seen } = yield* bare()
      yield* auth.import({ token: tokenWith(-10, { projectId: 7 }) })
      const session = Option.getOrThrow(yield* auth.session)
      const held = Option.getOrThrow(Session.currentToken(session))
      const { claims } = yield* JwtCodec.JwtCodec.use((codec) => codec.decode(held.accessToken))
      assert.strictEqual(claims.exp, T - 10)
      assert.strictEqual(yield* genomcore.projectId(session), 7)
      assert.strictEqual(seen.length, 0)
      // while those of a token that is valid now cannot be had
      assert.strictEqual((yield* Effect.flip(auth.claims))._tag, "ReauthenticationRequired")
    }).pipe(Effect.provide(JwtCodec.layer)))

  it.effect("row 7: nobody signed in is NotAuthenticated", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      assert.strictEqual((yield* Effect.flip(auth.claims))._tag, "NotAuthenticated")
    }))

  it.effect("row 7: a malformed token is a typed error that does not show it, and does not outlive it", () =>
    Effect.gen(function*() {
      const { auth } = yield* bare()
      const canary = `${first.split(".")[0]}.canary.canary`
      yield* auth.import({ token: canary, refresh_token: "r-0" })
      for (const _ of [1, 2]) {
        const error = yield* Effect.flip(auth.claims)
        assert.strictEqual(error._tag === "JwtError" && error.reason._tag, "Malformed")
        assert.notInclude(shown(error), "canary")
      }
      yield* auth.refresh()
      assert.strictEqual((yield* auth.claims)["number"], 1)
      yield* auth.import({ token: canary })
      assert.strictEqual((yield* Effect.flip(auth.claims))._tag, "JwtError")
      yield* auth.import({ token: first })
      assert.strictEqual((yield* auth.claims)["projectId"], 1)
    }))
})

describe("row 10 decode_jwt", () => {
  it.effect("row 10: a token of the IAM reads without a key, and verifies with the right one, until it ends", () =>
    Effect.gen(function*() {
      const simulator = yield* simulated()
      const { auth } = yield* client(simulator)
      yield* auth.login(passwordLogin())
      const { accessToken } = yield* auth.token
      const codec = yield* JwtCodec.JwtCodec
      const jwks = yield* Jwks.remote(`${simulator.issuer}/.well-known/jwks.json`)
      const verify = codec.verify(accessToken, { jwks, algorithms: ["RS256"], issuer: simulator.issuer })
      const claims = yield* auth.claims
      const verified = yield* verify
      assert.deepStrictEqual(verified.payload, claims)
      // neither reads from what `claims` has kept, nor puts into it
      assert.notStrictEqual(verified.payload, claims)
      assert.strictEqual(yield* auth.claims, claims)

      const tampered = Redacted.value(accessToken).split(".")
      tampered[1] = Buffer.from(JSON.stringify({ ...claims, projectId: 2 })).toString("base64url")
      const forged = codec.verify(secret(tampered.join(".")), { jwks, algorithms: ["RS256"] })
      assert.strictEqual((yield* Effect.flip(forged)).reason._tag, "BadSignature")

      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* Effect.flip(verify)).reason._tag, "Expired")
      assert.strictEqual((yield* codec.decode(accessToken)).claims.iss, simulator.issuer)
    }).pipe(Effect.provide([JwtCodec.layer, FetchHttpClient.layer])))
})

describe("row 11 get_project_id", () => {
  it.effect("row 11: after a re-scope it is the new project's, whatever that was called", () =>
    Effect.gen(function*() {
      const here = yield* client(yield* simulated())
      yield* here.auth.login(passwordLogin("apollo"))
      assert.strictEqual(yield* projectId(here), 1)
      yield* here.auth.refresh({ project: "borealis" })
      assert.strictEqual(yield* projectId(here), 2)
      assert.strictEqual(yield* here.genomcore.projectId(Option.getOrThrow(yield* here.auth.session)), 2)
    }))

  it.effect("row 11: of nobody's session there is none", () =>
    Effect.gen(function*() {
      const here = yield* bare()
      assert.strictEqual((yield* Effect.flip(projectId(here)))._tag, "NotAuthenticated")
    }))
})

describe("row 14 privates", () => {
  it.effect("row 14: session, manager and dialect show no secret, printed, spread or cloned", () =>
    Effect.gen(function*() {
      const { auth, genomcore, iam } = yield* bare(renewing)
      yield* auth.import({ token: first, refresh_token: "canary-refresh" })
      yield* auth.claims
      const session = Option.getOrThrow(yield* auth.session)
      const bearer = yield* auth.bearer
      for (const value of [session, { ...session }, auth, { ...auth }, genomcore, iam, bearer, yield* auth.token]) {
        for (const text of [first, "canary-refresh"]) assert.notInclude(shown(value), text)
      }
      const clone = structuredClone({ ...session, key: { ...session.key } })
      for (const text of [first, "canary-refresh"]) assert.notInclude(shown(clone), text)
      assert.notInclude(Object.keys(auth).join(), "canary")
    }))
})
