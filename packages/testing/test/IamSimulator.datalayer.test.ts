import * as DatalayerApi from "@effect-authn/iam-datalayer/DatalayerApi"
import * as IamSimulator from "@effect-authn/testing/IamSimulator"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import { createLocalJWKSet, jwtVerify } from "jose"
import { claimsOf, datalayer, post, send } from "./fixtures.ts"

const onSimulator = <A, E>(
  options: IamSimulator.Options,
  use: (simulator: IamSimulator.IamSimulator["Service"]) => Effect.Effect<A, E>
) => Effect.flatMap(IamSimulator.IamSimulator, use).pipe(Effect.provide(IamSimulator.layer(options)))

const isError = (json: any): boolean =>
  json.success === false && typeof json.message === "string" && Array.isArray(json.errors)

describe("IamSimulator, Datalayer-style", () => {
  it.effect("both login paths answer 201 with a user and a token", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { base } = datalayer(simulator)
        for (const path of ["/login", "/authentication/login"]) {
          for (const handle of ["ada", "ada@example.org"]) {
            const answer = yield* post(`${base}${path}`, { handle, password: "correct-horse-battery" })
            assert.strictEqual(answer.status, 201)
            assert.isTrue(answer.json.success)
            assert.include(answer.json.message, "success")
            assert.strictEqual(answer.json.user.handle_s, "ada")
            assert.isString(answer.json.token)
          }
        }
      })))

  it.effect("its tokens are what the platform's clients insist on: RS256, three parts, long, with the usual claims", () =>
    onSimulator({ tokenLifetime: "90 seconds" }, (simulator) =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_700_000_000_000)
        const { token } = (yield* datalayer(simulator).login()).json
        const parts = token.split(".")
        assert.strictEqual(parts.length, 3)
        for (const part of parts) assert.match(part, /^[A-Za-z0-9_-]+$/)
        assert.isAtLeast(token.length, 100)
        assert.isAtLeast(parts[2].length, 20)
        const claims = claimsOf(token)
        assert.strictEqual(claims.iss, simulator.issuer)
        assert.strictEqual(claims.iat, 1_700_000_000)
        assert.strictEqual(claims.exp, 1_700_000_090)
        assert.isString(claims.sub)
        assert.isString(claims.jti)
        const { json } = yield* send(`${simulator.issuer}/.well-known/jwks.json`)
        const verified = yield* Effect.promise(() =>
          jwtVerify(token, createLocalJWKSet(json), {
            issuer: simulator.issuer,
            algorithms: ["RS256"],
            currentDate: new Date(1_700_000_000_000)
          })
        )
        assert.strictEqual(verified.payload.jti, claims.jti)
        assert.notProperty(json.keys[0], "d")
      })))

  it.effect("a wrong password and an unknown user get the same 401", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const wrong = yield* datalayer(simulator).login("ada", "nope")
        const unknown = yield* datalayer(simulator).login("eve", "nope")
        assert.deepStrictEqual([wrong.status, unknown.status], [401, 401])
        assert.deepStrictEqual(wrong.json, unknown.json)
        assert.isTrue(isError(wrong.json))
      })))

  it.effect("a login with both, neither or half of a credential is 400, and says why without the values", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { base } = datalayer(simulator)
        const bodies = [
          { handle: "ada", password: "canary-1", token: "canary-2" },
          {},
          { handle: "ada" },
          { password: "canary-1" },
          { handle: "", password: "canary-1" },
          { handle: 1, password: "canary-1" },
          "not json canary-1",
          ""
        ]
        for (const body of bodies) {
          const answer = yield* post(`${base}/login`, body)
          assert.strictEqual(answer.status, 400, JSON.stringify(body))
          assert.isTrue(isError(answer.json))
          assert.isAbove(answer.json.errors.length, 0)
          assert.notInclude(answer.text, "canary")
        }
      })))

  it.effect("a token is exchanged for another one while it is good, and the old one stays good", () =>
    onSimulator({ tokenLifetime: "60 seconds" }, (simulator) =>
      Effect.gen(function*() {
        const { exchange, get, login } = datalayer(simulator)
        const first = (yield* login()).json.token
        const second = yield* exchange(first)
        assert.strictEqual(second.status, 201)
        assert.notStrictEqual(second.json.token, first)
        assert.strictEqual(second.json.provided_token, first)
        assert.isFalse(second.json.is_provided_token_external)
        assert.strictEqual((yield* get("/whoami", first)).status, 200)
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual((yield* exchange(first)).status, 201)
        yield* TestClock.adjust("1 second")
        const late = yield* exchange(first)
        assert.strictEqual(late.status, 401)
        assert.isTrue(isError(late.json))
        assert.strictEqual((yield* exchange("not.a.token")).status, 401)
      })))

  it.effect("whoami and me show every field of the profile, none empty", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { get, login } = datalayer(simulator)
        const { token } = (yield* login()).json
        const whoami = yield* get("/whoami", token)
        const me = yield* get("/me", token)
        assert.deepStrictEqual([whoami.status, me.status], [200, 200])
        assert.deepStrictEqual(me.json.me, whoami.json.profile)
        for (const name of Object.keys(DatalayerApi.Profile.fields)) {
          const value = whoami.json.profile[name]
          assert.isTrue(value !== undefined && value !== null && value !== "" && value.length !== 0, name)
        }
        yield* Schema.decodeUnknownEffect(DatalayerApi.Profile)(whoami.json.profile)
      })))

  it.effect("protected routes want a good bearer token", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { base, get, login } = datalayer(simulator)
        const { token } = (yield* login()).json
        for (const path of ["/whoami", "/me", "/auth", "/memberships"]) {
          assert.strictEqual((yield* get(path, token)).status, 200)
          const refused = [
            yield* send(`${base}${path}`),
            yield* get(path, "x"),
            yield* send(`${base}${path}`, { headers: { authorization: token } })
          ]
          for (const answer of refused) {
            assert.strictEqual(answer.status, 401)
            assert.isTrue(isError(answer.json))
            assert.match(answer.headers.get("www-authenticate")!, /^Bearer realm="simulator"/)
          }
        }
      })))

  it.effect("both logout paths kill the token, and only that one", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { get, login } = datalayer(simulator)
        for (const path of ["/logout", "/authentication/logout"]) {
          const [gone, kept] = [(yield* login()).json.token, (yield* login()).json.token]
          assert.strictEqual((yield* get(path, gone)).status, 200)
          assert.strictEqual((yield* get("/whoami", gone)).status, 401)
          assert.strictEqual((yield* datalayer(simulator).exchange(gone)).status, 401)
          assert.strictEqual((yield* get(path, gone)).status, 401)
          assert.strictEqual((yield* get("/whoami", kept)).status, 200)
        }
      })))

  it.effect("ping needs no token; memberships name an organization", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { base, get, login } = datalayer(simulator)
        const ping = yield* send(`${base}/ping`)
        assert.deepStrictEqual([ping.status, ping.json.status], [200, "OK"])
        assert.include(ping.json.message, "healthy")
        const { memberships } = (yield* get("/memberships", (yield* login()).json.token)).json
        assert.include(memberships.map((one: any) => one.type), "organization")
      })))

  it.effect("tokens and api-keys are made, listed, read, changed and deleted, and work until then", () =>
    onSimulator({ users: ["ada:correct-horse-battery", "bob:b"] }, (simulator) =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_700_000_000_000)
        const { base, get, login } = datalayer(simulator)
        const { token } = (yield* login()).json
        const authorization = `Bearer ${token}`
        for (const path of ["/tokens", "/api-keys"]) {
          const made = yield* post(
            `${base}${path}`,
            { name: "ci", description: "b64", variant: "user_token", expiration_date: 1_700_000_100 },
            { authorization }
          )
          assert.strictEqual(made.status, 201)
          const { uid, value_s } = made.json.token
          assert.strictEqual(value_s, made.json.access_token)
          assert.strictEqual(claimsOf(value_s).exp, 1_700_000_100)
          assert.strictEqual((yield* get("/whoami", value_s)).json.profile.handle_s, "ada")
          const listed = yield* get(path, token)
          assert.deepStrictEqual(listed.json.tokens.map((one: any) => one.uid), [uid])
          assert.notInclude(listed.text, value_s)
          assert.deepStrictEqual((yield* get(path, (yield* login("bob", "b")).json.token)).json.tokens, [])
          const changed = yield* send(`${base}${path}/${uid}`, {
            method: "PUT",
            headers: { authorization, "content-type": "application/json" },
            body: JSON.stringify({ ...listed.json.tokens[0], name_s: "renamed" })
          })
          assert.strictEqual(changed.json.token.name_s, "renamed")
          assert.strictEqual((yield* get(`${path}/${uid}`, token)).json.token.name_s, "renamed")
          const deleted = yield* send(`${base}${path}/${uid}`, { method: "DELETE", headers: { authorization } })
          assert.strictEqual(deleted.status, 200)
          assert.strictEqual((yield* get(`${path}/${uid}`, token)).status, 404)
          assert.strictEqual((yield* get("/whoami", value_s)).status, 401)
          assert.strictEqual((yield* send(`${base}${path}`)).status, 401)
        }
        const lasting = yield* post(`${base}/tokens`, { name: "lasting", expirationDate: 0 }, { authorization })
        assert.notProperty(claimsOf(lasting.json.access_token), "exp")
        yield* TestClock.adjust("400 days")
        assert.strictEqual((yield* get("/whoami", lasting.json.access_token)).status, 200)
        assert.deepStrictEqual(
          new Set((yield* simulator.ledger).map(({ route }) => route)),
          new Set(["login", "whoami", "tokens"])
        )
      })))

  it.effect("the authorization URL is told under both names for a known provider, and refused otherwise", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const { base } = datalayer(simulator)
        const ask = (query: Record<string, string>) => send(`${base}/oauth2/authz/url?${new URLSearchParams(query)}`)
        const callback_uri = "http://127.0.0.1:1/callback"
        for (const provider of ["github", "google", "linkedin", "okta"]) {
          const { json, status } = yield* ask({ provider, callback_uri, nonce: "n" })
          assert.strictEqual(status, 200)
          assert.strictEqual(json.loginURL, json.autorization_url)
          const url = new URL(json.loginURL)
          assert.strictEqual(url.origin, simulator.issuer)
          assert.strictEqual(url.searchParams.get("callback_uri"), callback_uri)
          assert.strictEqual(url.searchParams.get("nonce"), "n")
        }
        const unknown = yield* ask({ provider: "gitlab", callback_uri })
        assert.deepStrictEqual(
          [unknown.status, unknown.json.message],
          [404, "OAuth2 provider 'gitlab' not found or not configured"]
        )
        const incomplete: ReadonlyArray<Record<string, string>> = [
          { provider: "github" },
          { callback_uri },
          { provider: "github", callback_uri: "nope" }
        ]
        for (const query of incomplete) {
          const bad = yield* ask(query)
          assert.strictEqual(bad.status, 400)
          assert.include(bad.json.message, "Invalid OAuth2 parameters")
        }
      })))

  it.effect("a browser's preflight is answered, and every answer names its origin", () =>
    onSimulator({ fail: ["me:503:1"] }, (simulator) =>
      Effect.gen(function*() {
        const { base } = datalayer(simulator)
        const origin = "http://app.example:3000"
        const headers = "authorization,cache-control,content-type,pragma,x-external-token"
        const preflight = yield* send(`${base}/login`, {
          method: "OPTIONS",
          headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": headers }
        })
        assert.strictEqual(preflight.status, 204)
        assert.strictEqual(preflight.headers.get("access-control-allow-origin"), origin)
        assert.strictEqual(preflight.headers.get("access-control-allow-credentials"), "true")
        const allowed = preflight.headers.get("access-control-allow-headers")!.toLowerCase().split(/,\s*/)
        for (const header of headers.split(",")) assert.include(allowed, header)
        assert.include(preflight.headers.get("access-control-allow-methods")!, "POST")
        for (const path of ["/ping", "/whoami", "/me", "/nowhere"]) {
          const answer = yield* send(`${base}${path}`, { headers: { origin } })
          assert.strictEqual(answer.headers.get("access-control-allow-origin"), origin, path)
          assert.strictEqual(answer.headers.get("access-control-allow-credentials"), "true", path)
        }
        const ledger = yield* simulator.ledger
        assert.deepStrictEqual([ledger[0]!.route, ledger[0]!.status], ["preflight", 204])
      })))

  it.effect("an unknown path is 404 in the dialect's shape", () =>
    onSimulator({}, (simulator) =>
      Effect.gen(function*() {
        const answer = yield* send(`${datalayer(simulator).base}/nowhere`)
        assert.strictEqual(answer.status, 404)
        assert.isTrue(isError(answer.json))
      })))

  it.effect("its clock is Effect's clock plus the skew: in Date, iat and exp", () =>
    onSimulator({ clockSkew: "-1 hour", tokenLifetime: "60 seconds" }, (simulator) =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_700_000_000_000)
        const { get, login } = datalayer(simulator)
        const answer = yield* login()
        assert.strictEqual(Date.parse(answer.headers.get("date")!), 1_699_996_400_000)
        assert.strictEqual(claimsOf(answer.json.token).iat, 1_699_996_400)
        assert.strictEqual(claimsOf(answer.json.token).exp, 1_699_996_460)
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual((yield* get("/whoami", answer.json.token)).status, 200)
        yield* simulator.setKnobs({ clockSkew: 0 })
        assert.strictEqual((yield* get("/whoami", answer.json.token)).status, 401)
        // The ledger tells the machine's time.
        assert.strictEqual((yield* simulator.ledger)[0]!.at.epochMilliseconds, 1_700_000_000_000)
      })))
})
