import { TokenIntrospection } from "@effect-authn/core"
import { BareServer, OidcProvider } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, Logger, Redacted, Ref } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"

const secret = "s3cret of the API"
const authentication = { method: "client_secret_basic", clientId: "api:1", secret: Redacted.make(secret) } as const
const endpoint = "https://idp.example/introspect"
const active = { active: true, sub: "ada", scope: "notes:read", aud: "api", exp: 3600, token_type: "Bearer" }

/** An issuer that answers with what `answer` says, and counts; and a verifier that asks it. */
const setup = Effect.fnUntraced(function*(options: Partial<TokenIntrospection.Options> = {}) {
  const asked = yield* Ref.make(0)
  const answer = yield* Ref.make<Effect.Effect<Response, "broken">>(Effect.sync(() => Response.json(active)))
  const client = HttpClient.make((request) =>
    Ref.update(asked, (n) => n + 1).pipe(
      Effect.andThen(Effect.flatten(Ref.get(answer))),
      Effect.mapBoth({
        onFailure: () =>
          new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request }) }),
        onSuccess: (response) => HttpClientResponse.fromWeb(request, response)
      })
    )
  )
  const verifier = yield* TokenIntrospection.make({ endpoint, authentication, audience: "api", ...options }).pipe(
    Effect.provideService(HttpClient.HttpClient, client)
  )
  return {
    asked: Ref.get(asked),
    answers: (next: () => Response) => Ref.set(answer, Effect.sync(next)),
    does: (next: Effect.Effect<Response, "broken">) => Ref.set(answer, next),
    /** The subject, why the token is refused, or after how many seconds to ask again. */
    told: (token: string) =>
      verifier.verify(Redacted.make(token)).pipe(
        Effect.match({
          onFailure: (error) => error._tag === "Unauthorized" ? error.message : error.retryAfter,
          onSuccess: ({ claims }) => claims.sub
        })
      )
  }
})

const refusal = (why: string) => `the token cannot be used: ${why}`
const inactive = refusal("it is not active: it has ended, was revoked, or is unknown")

describe("TokenIntrospection", () => {
  it.effect("asks once for a token, and believes the answer for a minute, but not beyond the token's end", () =>
    Effect.gen(function*() {
      const { answers, asked, told } = yield* setup()
      assert.strictEqual(yield* told("opaque"), "ada")
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* told("opaque"), "ada")
      assert.strictEqual(yield* asked, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* told("opaque"), "ada")
      assert.strictEqual(yield* asked, 2)
      yield* answers(() => Response.json({ ...active, exp: 90 }))
      assert.strictEqual(yield* told("short"), "ada")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* told("short"), refusal("it has expired"))
    }))

  it.effect("believes no end in milliseconds that is past, and no start that is to come", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_700_000_000_000)
      const { answers, told } = yield* setup()
      for (
        const [members, expected] of [
          [{ exp: 1_699_999_999_000 }, refusal("it has expired")],
          [{ exp: 1_700_000_001_000, nbf: 1_699_999_999_000 }, "ada"],
          [{ exp: 1_700_000_001_000, nbf: 1_700_000_000_500 }, refusal("it is not valid yet")]
        ] as const
      ) {
        yield* answers(() => Response.json({ ...active, ...members }))
        assert.strictEqual(yield* told(JSON.stringify(members)), expected)
      }
      yield* answers(() => Response.json({ ...active, exp: 1_700_000_002_000 }))
      assert.strictEqual(yield* told("short"), "ada")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* told("short"), refusal("it has expired"))
    }))

  it.effect("asks once for all who come with a token at the same time, also when the first one leaves", () =>
    Effect.gen(function*() {
      const { asked, does, told } = yield* setup()
      const gate = yield* Deferred.make<void>()
      yield* does(Effect.as(Deferred.await(gate), Response.json(active)))
      const first = yield* Effect.forkChild(told("opaque"), { startImmediately: true })
      const others = yield* Effect.forEach(
        Array.from({ length: 50 }),
        () => Effect.forkChild(told("opaque"), { startImmediately: true })
      )
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(new Set(yield* Fiber.joinAll(others)), new Set(["ada"]))
      assert.strictEqual(yield* asked, 1)
    }))

  it.effect("refuses what is not active, and asks about it again after ten seconds", () =>
    Effect.gen(function*() {
      const { answers, asked, told } = yield* setup()
      yield* answers(() => Response.json({ active: false, sub: "ada", aud: "api" }))
      assert.strictEqual(yield* told("dead"), inactive)
      assert.strictEqual(yield* told("dead"), inactive)
      assert.strictEqual(yield* asked, 1)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* told("dead"), inactive)
      assert.strictEqual(yield* asked, 2)
    }))

  it.effect("no number of bad tokens displaces a good one", () =>
    Effect.gen(function*() {
      const { answers, asked, told } = yield* setup({ remember: 10 })
      yield* told("good")
      yield* answers(() => Response.json({ active: false }))
      for (let i = 0; i < 50; i++) yield* told(`bad ${i}`)
      assert.strictEqual(yield* told("good"), "ada")
      assert.strictEqual(yield* asked, 51)
    }))

  it.effect("refuses an active token that is not for this server, from another issuer, out of its time, or of another kind", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [members: object, expected: string]> = [
        [{}, "ada"],
        [{ aud: ["other", "api"] }, "ada"],
        [{ iss: "https://idp.example", token_use: "access_token", typ: "at+jwt" }, "ada"],
        [{ exp: undefined, token_type: undefined }, "ada"],
        [{ token_type: "access_token" }, "ada"],
        [{ exp: null, iat: null, nbf: null, iss: null, jti: null, token_type: null, cnf: null }, "ada"],
        [{ aud: null }, "it is not meant for this server"],
        [{ token_type: "DPoP", cnf: null }, "it is no access token"],
        [{ aud: "other" }, "it is not meant for this server"],
        [{ aud: [] }, "it is not meant for this server"],
        [{ aud: undefined }, "it is not meant for this server"],
        [{ iss: "https://other.example" }, "it is from another issuer"],
        [{ exp: 0 }, "it has expired"],
        [{ nbf: 60 }, "it is not valid yet"],
        // Told in milliseconds.
        [{ nbf: 1_700_000_000_000 }, "it is not valid yet"],
        [{ exp: 1_700_000_000_000 }, "ada"],
        [{ token_use: "refresh_token" }, "it is no access token"],
        [{ token_type: "refresh_token" }, "it is no access token"],
        [{ token_type: "DPoP" }, "it is no access token"],
        [{ token_type: "DPoP", cnf: { jkt: "thumbprint" } }, "ada"],
        [{ typ: "Refresh" }, "it is no access token"],
        [{ typ: "ID" }, "it is no access token"]
      ]
      const { answers, told } = yield* setup({ issuer: "https://idp.example" })
      for (const [i, [members, expected]] of cases.entries()) {
        yield* answers(() => Response.json({ ...active, ...members }))
        assert.strictEqual(
          yield* told(`${i}`),
          expected === "ada" ? "ada" : refusal(expected),
          JSON.stringify(members)
        )
      }
    }))

  it.effect("an issuer that is away is a 503 with its own wish, and is not asked meanwhile; known tokens pass", () =>
    Effect.gen(function*() {
      const { answers, asked, told } = yield* setup()
      yield* told("known")
      yield* answers(() => new Response("down", { status: 503, headers: { "retry-after": "20" } }))
      assert.strictEqual(yield* told("new"), 20)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* told("new"), 15)
      assert.strictEqual(yield* told("other"), 15)
      assert.strictEqual(yield* told("known"), "ada")
      assert.strictEqual(yield* asked, 2)
      yield* answers(() => Response.json(active))
      yield* TestClock.adjust("15 seconds")
      assert.strictEqual(yield* told("new"), "ada")
      yield* answers(() => new Response("busy", { status: 429, headers: { "retry-after": "86400" } }))
      assert.strictEqual(yield* told("later"), 60)
    }))

  it.effect("what an issuer answers about one token keeps no other from being asked about", () =>
    Effect.gen(function*() {
      const replies: ReadonlyArray<readonly [name: string, reply: () => Response]> = [
        [
          "a page of a firewall",
          () => new Response("<html>", { status: 403, headers: { "content-type": "text/html" } })
        ],
        ["another page", () => new Response("<html>", { status: 418, headers: { "content-type": "text/html" } })],
        ["a bad request", () => Response.json({ error: "invalid_request" }, { status: 400 })],
        ["a claim of another type", () => Response.json({ ...active, exp: "soon" })]
      ]
      for (const [name, reply] of replies) {
        const { answers, asked, told } = yield* setup()
        yield* answers(reply)
        assert.strictEqual(yield* told("<script>"), 1, name)
        yield* answers(() => Response.json(active))
        assert.strictEqual(yield* told("good"), "ada", name)
        // the same one is not asked about again at once
        assert.strictEqual(yield* told("<script>"), 1, name)
        assert.strictEqual(yield* asked, 2, name)
      }
    }))

  it.effect("what does not answer the question says nothing about the token", () =>
    Effect.gen(function*() {
      const replies: ReadonlyArray<readonly [name: string, reply: Effect.Effect<Response, "broken">]> = [
        ["no connection", Effect.fail("broken")],
        ["our client refused", Effect.sync(() => Response.json({ error: "invalid_client" }, { status: 401 }))],
        ["no right to ask", Effect.sync(() => Response.json({ error: "access_denied" }, { status: 403 }))],
        ["a bad request", Effect.sync(() => Response.json({ error: "invalid_request" }, { status: 400 }))],
        ["no such route", Effect.sync(() => Response.json({}, { status: 404 }))],
        ["a page", Effect.sync(() => new Response("<html>", { headers: { "content-type": "text/html" } }))],
        ["nothing", Effect.sync(() => new Response(null, { status: 204 }))],
        ["no verdict", Effect.sync(() => Response.json({ sub: "ada" }))],
        ["a verdict as text", Effect.sync(() => Response.json({ ...active, active: "true" }))],
        ["a list", Effect.sync(() => Response.json([active]))],
        ["an end as text", Effect.sync(() => Response.json({ ...active, exp: "soon" }))],
        [
          "a redirect",
          Effect.sync(() => new Response(null, { status: 307, headers: { location: "https://e.example" } }))
        ],
        ["a bomb", Effect.sync(() => new Response("x".repeat(1_100_000)))]
      ]
      for (const [name, reply] of replies) {
        const { does, told } = yield* setup()
        yield* does(reply)
        assert.strictEqual(yield* told("opaque"), 1, name)
        yield* does(Effect.sync(() => Response.json(active)))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* told("opaque"), "ada", name)
      }
      const { does, told } = yield* setup()
      // before it asks it makes a digest, which takes real time
      const asked = yield* Deferred.make<void>()
      yield* does(Effect.andThen(Deferred.succeed(asked, undefined), Effect.never))
      const late = yield* Effect.forkChild(told("opaque"), { startImmediately: true })
      yield* Deferred.await(asked)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(late), 1)
    }))

  it.effect("refuses an endpoint of plain http", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(setup({ endpoint: "http://idp.example/introspect" }))
      assert.strictEqual(error.reason._tag, "Misconfigured")
    }))

  it.live("authenticates as it is told, with the secret of now, and sends the token in the body", () =>
    Effect.gen(function*() {
      const server = yield* BareServer.serve(() => BareServer.json(200, { ...active, exp: 4_000_000_000 }))
      let counter = 0
      const rotating = Effect.sync(() => Redacted.make(`secret ${counter++}`))
      const ways: ReadonlyArray<
        readonly [TokenIntrospection.Authentication, header: string | undefined, form: object]
      > = [
        [authentication, `Basic ${btoa("api%3A1:s3cret+of+the+API")}`, {}],
        [
          { method: "client_secret_post", clientId: "api", secret: rotating },
          undefined,
          { client_id: "api", client_secret: "secret 0" }
        ],
        [{ method: "bearer", token: rotating }, "Bearer secret 1", {}],
        [{ method: "assertion", clientId: "api", token: rotating }, undefined, {
          client_id: "api",
          client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
          client_assertion: "secret 2"
        }],
        [{ method: "tls_client_auth", clientId: "api" }, undefined, { client_id: "api" }]
      ]
      for (const [i, [authentication, header, form]] of ways.entries()) {
        const verifier = yield* TokenIntrospection.make({
          endpoint: `${server.origin}/introspect`,
          authentication,
          audience: "api"
        })
        yield* verifier.verify(Redacted.make("a+b c"))
        const { body, headers, line } = server.seen[i]!
        assert.strictEqual(line, "POST /introspect HTTP/1.1")
        assert.strictEqual(headers["authorization"], header)
        assert.strictEqual(headers["accept"], "application/json")
        assert.isUndefined(headers["traceparent"] ?? headers["b3"])
        assert.deepStrictEqual(Object.fromEntries(new URLSearchParams(body)), {
          token: "a+b c",
          token_type_hint: "access_token",
          ...form
        })
      }
    }).pipe(Effect.provide(FetchHttpClient.layer)))

  it.live("understands a certified provider: a token that is good, then revoked, and one that it never made", () =>
    Effect.gen(function*() {
      const { issuer, secretClient } = yield* OidcProvider.OidcProvider
      const credentials = btoa(`${secretClient.id}:${Redacted.value(secretClient.secret)}`)
      const post = (path: string, form: Record<string, string>) =>
        Effect.promise(() =>
          fetch(`${issuer}${path}`, {
            method: "POST",
            headers: { authorization: `Basic ${credentials}` },
            body: new URLSearchParams(form)
          }).then((answer) => answer.text())
        )
      const { access_token } = JSON.parse(yield* post("/token", { grant_type: "client_credentials" }))
      const options = {
        endpoint: `${issuer}/token/introspection`,
        authentication: { method: "client_secret_basic", clientId: secretClient.id, secret: secretClient.secret },
        issuer,
        anyAudience: true
      } as const
      const verifier = yield* TokenIntrospection.make(options)
      const token = Redacted.make(String(access_token))
      const { payload } = yield* verifier.verify(token)
      assert.strictEqual(payload["client_id"], secretClient.id)
      yield* post("/token/revocation", { token: Redacted.value(token) })
      const fresh = yield* TokenIntrospection.make(options)
      assert.include((yield* Effect.flip(fresh.verify(token))).message, "not active")
      assert.include((yield* Effect.flip(fresh.verify(Redacted.make("made up")))).message, "not active")
      const wrong = yield* TokenIntrospection.make({
        ...options,
        authentication: { ...options.authentication, secret: Redacted.make("wrong") }
      })
      assert.strictEqual((yield* Effect.flip(wrong.verify(token)))._tag, "KeysUnavailable")
    }).pipe(Effect.provide([FetchHttpClient.layer, OidcProvider.layer()])))

  it.effect("shows neither the token nor the secret, whatever the issuer answers", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const logger = Logger.make(({ cause, message }) => {
        logged.push(`${String(message)} ${Cause.pretty(cause)}`)
      })
      const { does, told } = yield* setup()
      const echo = { error: "canary-token", message: `no canary-token, nor ${secret}`, [secret]: "canary-token" }
      for (const status of [200, 400, 401, 404, 500]) {
        yield* does(Effect.sync(() => Response.json(echo, { status })))
        yield* Effect.provide(told("canary-token"), Logger.layer([logger]))
        yield* TestClock.adjust("1 minute")
      }
      assert.strictEqual(logged.length, 5)
      assert.notInclude(logged.join(), "canary-token")
      assert.notInclude(logged.join(), secret)
    }))
})
