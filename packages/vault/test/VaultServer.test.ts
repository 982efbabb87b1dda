import { IamError, JwtCodec, Session, SessionKey, TokenSet } from "@effect-authn/core"
import { VaultApi, type VaultServer } from "@effect-authn/vault"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option, Redacted } from "effect"
import { OpenApi } from "effect/http-api"
import { asked, clientId, issuer, sha256, world } from "./world.ts"

describe("POST /token", () => {
  it.live("hands out a token that is valid now, of a session that was put in", () =>
    Effect.gen(function*() {
      const { all, put, send } = yield* world()
      assert.strictEqual((yield* put("ada")).status, 200)
      const answer = yield* send("POST", "/token", { token: all, body: asked("ada") })
      assert.strictEqual(answer.status, 200)
      const { access_token, expires_at, expires_in, token_type } = answer.json()
      assert.isString(access_token)
      assert.strictEqual(token_type, "Bearer")
      assert.isAbove(expires_in, 3590)
      assert.match(expires_at, /^\d{4}-\d\d-\d\dT/)
    }))

  it.live("hands out a token wherever it comes from: a login, a renewal, another program's document", () =>
    Effect.gen(function*() {
      const { all, issued, send, vault } = yield* world()
      const { grant, tokens } = yield* issued
      for (const label of [undefined, "access_token", "another"]) {
        const accessToken = Redacted.make(Redacted.value(tokens.accessToken), label === undefined ? {} : { label })
        const key = SessionKey.SessionKey.make({ issuer, clientId, account: "ada" })
        yield* vault.put(key, {
          tokens: TokenSet.TokenSet.make({ ...Object.fromEntries(Object.entries(tokens)), accessToken } as never),
          grant,
          user: Option.none()
        })
        assert.strictEqual((yield* send("POST", "/token", { token: all, body: asked("ada") })).status, 200)
      }
    }))

  it.live("does not hand out a token that is bound to a key, which would be worth nothing", () =>
    Effect.gen(function*() {
      const { all, issued, send, vault } = yield* world()
      const key = SessionKey.SessionKey.make({ issuer, clientId, account: "ada" })
      const jwk = { kty: "EC", crv: "P-256", x: "x", y: "y", d: "canary" }
      const proofKey = Session.ProofKey.cases.Enclosed.make({ jwk: Redacted.make(jwk) })
      yield* vault.put(key, { ...yield* issued, proofKey })
      const answer = yield* send("POST", "/token", { token: all, body: asked("ada") })
      assert.isAtLeast(answer.status, 400)
      assert.include(answer.json()["error_description"], "bound to a key")
      assert.notInclude(JSON.stringify(answer.json()), "canary")
    }))

  it.live("renews once in the place of a token that an API refused, and not for one that is gone already", () =>
    Effect.gen(function*() {
      const { all, iam, put, send } = yield* world()
      yield* put("ada")
      const first = (yield* send("POST", "/token", { token: all, body: asked("ada") })).json()["access_token"]
      const again = yield* Effect.forEach(
        Array.from({ length: 5 }),
        () => send("POST", "/token", { token: all, body: asked("ada", { refused: sha256(first) }) }),
        { concurrency: "unbounded" }
      )
      const tokens = new Set(again.map((answer) => answer.json()["access_token"]))
      assert.strictEqual(tokens.size, 1)
      assert.isFalse(tokens.has(first))
      yield* send("POST", "/token", { token: all, body: asked("ada", { refused: sha256("another") }) })
      assert.strictEqual(yield* iam.count("renew"), 1)
    }))

  it.live("says what happened and what to do, by status", () =>
    Effect.gen(function*() {
      const { all, iam, put, send } = yield* world(undefined, { tokens: "opaque" })
      const token = (body: unknown, headers = {}) => send("POST", "/token", { token: all, body, headers })
      const nobody = yield* token(asked("nobody"))
      assert.deepStrictEqual([nobody.status, nobody.json()["error"]], [404, "no_session"])
      const elsewhere = yield* token({ ...asked("ada"), issuer: "https://evil.example" })
      assert.deepStrictEqual([elsewhere.status, elsewhere.json()["error"]], [404, "provider_unknown"])

      yield* put("ada")
      const { access_token } = (yield* token(asked("ada"))).json()
      yield* iam.failNext("renew", {
        reason: new IamError.Unavailable({ sent: "no", detail: "busy", retryAfter: Duration.millis(2500) }),
        times: 1
      })
      const busy = yield* token(asked("ada", { refused: sha256(access_token) }))
      assert.deepStrictEqual([busy.status, busy.json()["error"], busy.header("retry-after")], [503, "unavailable", "3"])

      yield* put("ben")
      const ben = (yield* token(asked("ben"))).json()["access_token"]
      yield* iam.revokeAll
      const ended = yield* token(asked("ben", { refused: sha256(ben) }))
      assert.deepStrictEqual([ended.status, ended.json()["error"]], [409, "reauthentication_required"])
      for (const answer of [nobody, elsewhere, busy, ended]) {
        assert.isString(answer.json()["error_description"])
        assert.strictEqual(answer.header("cache-control"), "no-store")
      }
    }))

  it.live("does not wait longer than its patience, and the renewal goes on behind the caller", () =>
    Effect.gen(function*() {
      const { all, iam, put, send } = yield* world({ patience: "300 millis" })
      yield* put("ada")
      const { access_token } = (yield* send("POST", "/token", { token: all, body: asked("ada") })).json()
      yield* iam.set({ latency: Duration.millis(900) })
      const body = asked("ada", { refused: sha256(access_token) })
      const late = yield* send("POST", "/token", { token: all, body })
      assert.deepStrictEqual([late.status, late.header("retry-after")], [503, "1"])
      yield* Effect.sleep("1 second")
      const next = yield* send("POST", "/token", { token: all, body })
      assert.strictEqual(next.status, 200)
      assert.notStrictEqual(next.json()["access_token"], access_token)
      assert.strictEqual(yield* iam.count("renew"), 1)
    }))

  it.live("waits no longer for a store whose line is cut, so that nothing can be interrupted", () =>
    Effect.gen(function*() {
      let ended = 0
      const mute = Effect.ensuring(
        Effect.uninterruptible(Effect.sleep("5 seconds")),
        Effect.sync(() => {
          ended += 1
        })
      )
      const cut = () => Effect.andThen(mute, Effect.die("too late"))
      const { all, answerOf, issued, send } = yield* world({ patience: "50 millis" }, undefined, {
        bearer: cut,
        put: cut,
        revoke: cut,
        page: cut,
        health: cut()
      })
      const body = answerOf("ada", yield* issued)
      const answers = yield* Effect.all([
        send("POST", "/token", { token: all, body: asked("ada") }),
        send("PUT", "/sessions", { token: all, body }),
        send("DELETE", `/sessions?${new URLSearchParams(asked("ada"))}`, { token: all }),
        send("GET", "/sessions", { token: all }),
        send("GET", "/health", { token: all })
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual(answers.map(({ status }) => status), [503, 503, 503, 503, 503])
      assert.deepStrictEqual(answers.slice(0, 4).map(({ header }) => header("retry-after")), ["1", "1", "1", "1"])
      assert.strictEqual(ended, 0)
    }))

  it.live("what cannot be read is refused with what is wrong, and none of what was sent", () =>
    Effect.gen(function*() {
      const { all, send } = yield* world()
      const bodies: ReadonlyArray<unknown> = [
        "",
        "{",
        "null",
        "[]",
        "\"secret-canary\"",
        {},
        { issuer, client: clientId },
        { ...asked("ada"), account: "" },
        { ...asked("ada"), account: 7 },
        { ...asked("ada"), account: ["secret-canary"] },
        { ...asked("ada"), issuer: "secret-canary".repeat(400) },
        { ...asked("ada"), refused: "secret-canary" },
        { ...asked("ada"), selection: { organization: "" } },
        { ...asked("ada"), selection: "secret-canary" },
        // or it would be a token for something else
        { ...asked("ada"), selection: { organisation: "acme" } },
        { ...asked("ada"), selektion: { organization: "acme" } }
      ]
      for (const body of bodies) {
        const answer = yield* send("POST", "/token", { token: all, body })
        assert.strictEqual(answer.status, 400, JSON.stringify(body))
        assert.notInclude(answer.text, "secret-canary")
        assert.strictEqual(answer.header("cache-control"), "no-store")
        assert.strictEqual(answer.json()["error"], "invalid_request")
        assert.isString(answer.json()["error_description"])
      }
      const form = yield* send("POST", "/token", {
        token: all,
        body: "a=b",
        headers: { "content-type": "application/x-www-form-urlencoded" }
      })
      assert.strictEqual(form.status, 415)
      assert.include(form.json()["error_description"], "application/json")
      const large = yield* send("POST", "/token", { token: all, body: `{"issuer":"${"x".repeat(300_000)}"}` })
      assert.strictEqual(large.status, 413)
    }))
})

describe("who may", () => {
  it.live("nobody without a token, or with one that is unknown, revoked or no service token", () =>
    Effect.gen(function*() {
      const { all, put, send, service } = yield* world()
      yield* put("ada")
      const gone = yield* service.create({ name: "gone", rights: ["token"] })
      yield* service.revoke("gone")
      const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."
      for (const token of [undefined, "", gone, `authn_${"A".repeat(43)}`, jwt, "x", `${Redacted.value(all)}x`]) {
        for (const [method, path] of [["POST", "/token"], ["PUT", "/sessions"], ["GET", "/sessions"]] as const) {
          const body = method === "GET" ? undefined : asked("ada")
          const answer = yield* send(method, path, { token, body })
          assert.strictEqual(answer.status, 401, `${method} ${path}`)
          assert.include(answer.header("www-authenticate"), "Bearer")
          assert.strictEqual(answer.header("cache-control"), "no-store")
          assert.isNull(answer.header("access-control-allow-origin"))
        }
      }
      const preflight = yield* send("OPTIONS", "/token", {
        headers: { origin: "https://evil.example", "access-control-request-method": "POST" }
      })
      assert.strictEqual(preflight.status, 404)
      assert.isNull(preflight.header("access-control-allow-origin"))
    }))

  it.live("a service token has its rights, for its accounts", () =>
    Effect.gen(function*() {
      const { answerOf, issued, put, send, service } = yield* world()
      yield* put("team-a/ada")
      yield* put("team-b/ben")
      const reads = yield* service.create({ name: "reads", rights: ["token"], accounts: "team-a/" })
      const writes = yield* service.create({ name: "writes", rights: ["sessions:write"], accounts: "team-a/" })
      const lists = yield* service.create({ name: "lists", rights: ["sessions:read"], accounts: "team-a/" })
      const body = (account: string) => Effect.map(issued, (response) => answerOf(account, response))
      const outcomes = [
        yield* send("POST", "/token", { token: reads, body: asked("team-a/ada") }),
        yield* send("POST", "/token", { token: reads, body: asked("team-b/ben") }),
        yield* send("POST", "/token", { token: reads, body: asked("team-a") }),
        yield* send("POST", "/token", { token: writes, body: asked("team-a/ada") }),
        yield* send("PUT", "/sessions", { token: writes, body: yield* body("team-a/eve") }),
        yield* send("PUT", "/sessions", { token: writes, body: yield* body("team-b/eve") }),
        yield* send("PUT", "/sessions", { token: reads, body: yield* body("team-a/eve") }),
        yield* send("GET", "/sessions", { token: reads }),
        yield* send("GET", "/sessions", { token: lists })
      ]
      assert.deepStrictEqual(outcomes.map(({ status }) => status), [200, 403, 403, 403, 200, 403, 403, 403, 200])
      assert.include(outcomes[3]!.header("www-authenticate"), "scope=\"token\"")
      const listed = outcomes[8]!.json()["sessions"] as ReadonlyArray<{ readonly account: string }>
      assert.sameMembers(listed.map(({ account }) => account), ["team-a/ada", "team-a/eve"])
      const query = (account: string) => `?${new URLSearchParams(asked(account))}`
      assert.strictEqual((yield* send("DELETE", `/sessions${query("team-b/ben")}`, { token: writes })).status, 403)
      assert.strictEqual((yield* send("DELETE", `/sessions${query("team-a/eve")}`, { token: writes })).status, 200)
    }))

  it.live("a JWT passes where the program's rule lets it, and only if it is good", () =>
    Effect.gen(function*() {
      const { privateKey, publicKey } = yield* Effect.promise(() =>
        crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"])
      )
      const asks: Array<readonly [string, string | undefined]> = []
      const { put, send } = yield* world({
        bearer: {
          key: publicKey,
          algorithms: ["ES256"],
          issuer: "https://idp.example",
          audience: "https://vault.example",
          allow: ({ caller, key, right }) =>
            Effect.sync(() => {
              const account = Option.getOrUndefined(Option.map(key, ({ account }) => account))
              asks.push([right, account])
              return right === "token" && account === caller.claims.sub
            })
        }
      })
      yield* put("ada")
      const sign = (claims: object) =>
        JwtCodec.JwtCodec.use((codec) =>
          codec.sign(
            { iss: "https://idp.example", aud: "https://vault.example", exp: 4_102_444_800, ...claims },
            privateKey
          )
        ).pipe(
          Effect.provide(JwtCodec.layer)
        )
      const ada = yield* sign({ sub: "ada" })
      const other = yield* sign({ sub: "ben" })
      const old = yield* sign({ sub: "ada", exp: 1 })
      const statuses = []
      for (const token of [ada, other, old, yield* sign({ sub: "ada", aud: "https://other.example" })]) {
        statuses.push((yield* send("POST", "/token", { token, body: asked("ada") })).status)
      }
      statuses.push((yield* send("GET", "/sessions", { token: ada })).status)
      assert.deepStrictEqual(statuses, [200, 403, 401, 401, 403])
      assert.deepStrictEqual(asks, [["token", "ada"], ["token", "ada"], ["sessions:read", undefined]])
    }))
})

describe("GET /sessions for a caller of the program's own rule", () => {
  it.live("shows the sessions that the rule names, and no others", () =>
    Effect.gen(function*() {
      const asks: Array<string | undefined> = []
      const { put, send } = yield* world({
        bearer: {
          verifier: {
            verify: (token) =>
              Effect.succeed({
                header: {},
                claims: { sub: Redacted.value(token) },
                payload: { sub: Redacted.value(token) }
              })
          },
          allow: ({ caller, key }) =>
            Effect.sync(() => {
              const account = Option.getOrUndefined(Option.map(key, ({ account }) => account))
              asks.push(account)
              return account === undefined ? caller.claims.sub !== "nobody" : account === caller.claims.sub
            })
        }
      })
      for (const account of ["ada", "ben", "eve"]) yield* put(account)
      const listed = (token: string, query = "") =>
        Effect.map(send("GET", `/sessions${query}`, { token }), ({ json, status }) =>
          status === 200
            ? json()["sessions"].map(({ account }: { account: string }) => account)
            : status)
      assert.deepStrictEqual(yield* listed("ada"), ["ada"])
      assert.deepStrictEqual(yield* listed("ada", "?accounts=b"), [])
      assert.deepStrictEqual(yield* listed("zoe"), [])
      // one that may not list at all costs no look at the store
      asks.length = 0
      assert.strictEqual(yield* listed("nobody"), 403)
      assert.deepStrictEqual(asks, [undefined])
    }))
})

describe("the note of a token", () => {
  it.live("is one for each that was handed out, and never has it", () =>
    Effect.gen(function*() {
      const notes: Array<VaultServer.HandedOut> = []
      const { all, put, send } = yield* world({ audit: (event) => Effect.sync(() => void notes.push(event)) })
      yield* put("ada")
      const { access_token } = (yield* send("POST", "/token", { token: all, body: asked("ada") })).json()
      yield* send("POST", "/token", { token: all, body: asked("ada", { refused: sha256(access_token) }) })
      yield* send("POST", "/token", { token: all, body: asked("nobody") })
      assert.deepStrictEqual(
        notes.map(({ caller, isReplacement, key }) => [caller, key.account, isReplacement]),
        [["service app", "ada", false], ["service app", "ada", true]]
      )
      assert.notInclude(JSON.stringify(notes), access_token)
    }))
})

describe("sessions", () => {
  it.live("are listed in pages without a secret, and found by state", () =>
    Effect.gen(function*() {
      const { all, iam, put, send } = yield* world(undefined, { tokens: "opaque" })
      for (const account of ["a", "b", "c", "d", "e"]) yield* put(account)
      const accounts: Array<string> = []
      let path = "/sessions?limit=2"
      for (let pages = 0; path !== "" && pages < 9; pages++) {
        const page = yield* send("GET", path, { token: all })
        assert.strictEqual(page.status, 200)
        assert.notMatch(page.text, /access_token|refresh_token/)
        const { next, sessions } = page.json()
        for (const { account } of sessions) accounts.push(account)
        path = next === undefined ? "" : `/sessions?limit=2&after=${next}`
      }
      assert.sameMembers(accounts, ["a", "b", "c", "d", "e"])

      const { access_token } = (yield* send("POST", "/token", { token: all, body: asked("c") })).json()
      yield* iam.revokeAll
      yield* send("POST", "/token", { token: all, body: asked("c", { refused: sha256(access_token) }) })
      const found = (yield* send("GET", "/sessions?state=ended", { token: all })).json()["sessions"]
      assert.deepStrictEqual(found.map(({ account }: { account: string }) => account), ["c"])
      assert.isString(found[0].detail)
      for (const query of ["limit=0", "limit=501", "limit=x", "after=x", "state=asleep", "acounts=a"]) {
        assert.strictEqual((yield* send("GET", `/sessions?${query}`, { token: all })).status, 400, query)
      }
    }))

  it.live("are put in with what the IAM answered, and what cannot be one is refused", () =>
    Effect.gen(function*() {
      const { all, send } = yield* world()
      const put = (more: object) =>
        send("PUT", "/sessions", { token: all, body: { ...asked("ada"), access_token: "at-1", ...more } })
      const good = yield* put({ expires_in: "3600", refresh_token: "rt", refresh_expires_in: 60, scope: "a b" })
      assert.deepStrictEqual([good.status, good.json()["state"]], [200, "alive"])
      assert.notInclude(good.text, "at-1")
      const claims = Buffer.from(JSON.stringify({ exp: 1 })).toString("base64url")
      const expired = `eyJhbGciOiJub25lIn0.${claims}.`
      for (
        const more of [
          { access_token: "" },
          { access_token: "two words" },
          { access_token: expired },
          { token_type: "not a word" },
          { refresh_token: "line\nbreak" },
          { id_token: "no jwt" },
          { token_type: "dpop", refresh_token: "rt" },
          { account: "half \ud800" },
          { account: "" }
        ]
      ) {
        const answer = yield* put(more)
        assert.strictEqual(answer.status, 400, JSON.stringify(more))
        assert.strictEqual(answer.json()["error"], "invalid_request")
      }
      // a refresh token makes the next one
      assert.strictEqual((yield* put({ access_token: expired, refresh_token: "rt" })).status, 200)
      const elsewhere = yield* put({ issuer: "https://evil.example", refresh_token: "rt" })
      assert.strictEqual(elsewhere.status, 404)
      assert.strictEqual((yield* put({ issuer: "https://evil.example" })).status, 404)
    }))

  it.live("are revoked, and gone", () =>
    Effect.gen(function*() {
      const { all, iam, put, send } = yield* world()
      yield* put("ada")
      const query = `?${new URLSearchParams(asked("ada"))}`
      assert.deepStrictEqual((yield* send("DELETE", `/sessions${query}`, { token: all })).json(), { revoked: true })
      assert.strictEqual(yield* iam.count("revoke"), 1)
      assert.strictEqual((yield* send("POST", "/token", { token: all, body: asked("ada") })).status, 404)
    }))
})

describe("GET /health", () => {
  it.live("is one word, and more for who may read", () =>
    Effect.gen(function*() {
      const { all, put, send, service } = yield* world()
      yield* put("ada")
      const reads = yield* service.create({ name: "reads", rights: ["token"] })
      for (const token of [undefined, "nonsense", reads]) {
        const answer = yield* send("GET", "/health", { token })
        assert.deepStrictEqual([answer.status, answer.text], [200, "ok"])
        assert.strictEqual(answer.header("cache-control"), "no-store")
      }
      assert.deepStrictEqual((yield* send("GET", "/health", { token: all })).json(), { status: "ok", open: 1, due: 0 })
    }))

  it.live("waits no longer for a store that is silent than any caller does", () =>
    Effect.gen(function*() {
      const { send } = yield* world({ patience: "20 millis" }, undefined, { health: Effect.never })
      const answer = yield* send("GET", "/health")
      assert.deepStrictEqual([answer.status, answer.text], [503, "unavailable"])
    }))
})

describe("a caller with a token of the program's own", () => {
  it.live("gets no more than anybody where the token is bound to a key, of which no proof is taken here", () =>
    Effect.gen(function*() {
      for (const [payload, text] of [[{}, "{"], [{ cnf: { jkt: "thumbprint" } }, "ok"]] as const) {
        const { send } = yield* world({
          bearer: {
            verifier: { verify: () => Effect.succeed({ header: {}, claims: {}, payload }) },
            allow: () => Effect.succeed(true)
          }
        })
        assert.isTrue((yield* send("GET", "/health", { token: "of-the-program" })).text.startsWith(text), text)
      }
    }))
})

describe("an IAM that does not answer", () => {
  const away = new IamError.Unavailable({ sent: "maybe", detail: "403 with a page" })
  const people = ["a", "b", "c", "d", "e", "f"]

  /** What becomes of the IAM when each of six asks once, with what `more` makes of the token that it has. */
  const asking = (more: (token: string) => object) =>
    Effect.gen(function*() {
      const { all, iam, put, send, vault } = yield* world()
      const bodies = yield* Effect.forEach(people, (account) =>
        Effect.gen(function*() {
          yield* put(account)
          const { access_token } = (yield* send("POST", "/token", { token: all, body: asked(account) })).json()
          return asked(account, more(access_token))
        }))
      yield* iam.failNext("renew", { reason: away, times: 6 })
      for (const body of bodies) yield* send("POST", "/token", { token: all, body })
      return { asked: yield* iam.count("renew"), state: (yield* vault.issuers)[0]?.state }
    })

  it.live("is left alone, but not for what callers ask for beside their sessions", () =>
    Effect.gen(function*() {
      // five in a row are enough
      assert.deepStrictEqual(yield* asking((token) => ({ refused: sha256(token) })), { asked: 5, state: "pauses" })
      const selection = { resource: "https://x.example/<script>" }
      assert.deepStrictEqual(yield* asking(() => ({ selection })), { asked: 6, state: "answers" })
    }))
})

describe("GET /metrics", () => {
  it.live("is for who may read, and names no account", () =>
    Effect.gen(function*() {
      const { all, put, send, service } = yield* world()
      yield* put("account-canary")
      const { access_token } = (yield* send("POST", "/token", { token: all, body: asked("account-canary") })).json()
      yield* send("POST", "/token", { token: all, body: asked("account-canary", { refused: sha256(access_token) }) })
      yield* send("GET", "/health")
      const takes = yield* service.create({ name: "takes", rights: ["token"] })
      const statuses = yield* Effect.forEach([undefined, takes, all], (token) => send("GET", "/metrics", { token }))
      assert.deepStrictEqual(statuses.map(({ status }) => status), [401, 403, 200])
      const { text } = statuses[2]!
      assert.match(text, /^effect_authn_vault_open[{ ]/m)
      assert.include(text, issuer)
      assert.notInclude(text, "account-canary")
      assert.notInclude(text, access_token)
    }))
})

it.live("describes itself to who is known, and to nobody else", () =>
  Effect.gen(function*() {
    const { all, send } = yield* world({ openapiPath: "/openapi.json" })
    const known = yield* send("GET", "/openapi.json", { token: all })
    assert.deepStrictEqual([known.status, known.json()["info"].title], [200, "effect-authn vault"])
    for (const token of [undefined, "stranger", `authn_${"A".repeat(43)}`]) {
      const unknown = yield* send("GET", "/openapi.json", { token })
      assert.strictEqual(unknown.status, 401)
      assert.include(unknown.header("www-authenticate"), "realm=\"vault\"")
      assert.strictEqual(unknown.header("cache-control"), "no-store")
    }
  }))

it("describes itself, with its errors and what it is safe with", () => {
  const { paths } = OpenApi.fromApi(VaultApi.VaultApi)
  const operations = (["post", "put", "delete", "get"] as const).flatMap((method) =>
    Object.entries(paths).flatMap(([path, item]) => {
      const operation = item[method]
      return operation === undefined ? [] : [[
        `${method.toUpperCase()} ${path}`,
        Object.keys(operation.responses).map(Number).sort((one, other) => one - other),
        operation.security?.length ?? 0
      ]]
    })
  )
  assert.deepStrictEqual(operations, [
    ["POST /token", [200, 400, 401, 403, 404, 409, 422, 502, 503], 1],
    ["PUT /sessions", [200, 400, 401, 403, 404, 503], 1],
    ["DELETE /sessions", [200, 400, 401, 403, 404, 503], 1],
    ["GET /sessions", [200, 400, 401, 403, 503], 1],
    ["GET /metrics", [200, 400, 401, 403, 503], 1],
    ["GET /health", [200, 503], 0]
  ])
})
