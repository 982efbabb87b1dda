import { AuthHttpClient, AuthManager, BearerAuth, IamError } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Redacted, Schedule, Schema, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import { HttpApi, HttpApiClient, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { TestClock } from "effect/testing"
import { nobody, type Seen, serve } from "./bareApi.ts"
import { passwordLogin, setup } from "./fixtures.ts"

const program = (options: ScriptedIam.Options = { rotation: "strict" }) =>
  Layer.merge(setup(options), FetchHttpClient.layer)

const renewals = ScriptedIam.ScriptedIam.use((iam) => iam.count("renew"))
const bearer = Effect.flatMap(AuthManager.AuthManager, (auth) => Effect.map(auth.bearer, Redacted.value))
const login = AuthManager.AuthManager.use((auth) => auth.login(passwordLogin))

/** Accepts every token but the ones that were given: an API at which a token was revoked. */
const refusing = (...refused: ReadonlyArray<string>) => (seen: Seen) =>
  seen.authorization === undefined || refused.includes(seen.authorization)
    ? { status: 401, body: "no" }
    : { body: "yes" }

const headers = (seen: ReadonlyArray<Seen>) => seen.map((entry) => entry.authorization)

describe("the token", () => {
  it.effect("goes with requests for relative and for absolute URLs of the API", () =>
    Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve()
      const client = yield* AuthHttpClient.make({ baseUrl: `${url}/v1` })
      for (const path of ["/me", "me", `${url}/elsewhere?q=1`]) yield* client.get(path)
      yield* client.get("/me", { urlParams: { page: "2" } })
      const expected = yield* bearer
      assert.deepStrictEqual(headers(seen), [expected, expected, expected, expected])
      assert.deepStrictEqual(seen.map((entry) => entry.path), ["/v1/me", "/v1/me", "/elsewhere?q=1", "/v1/me?page=2"])
    }).pipe(Effect.provide(program())))

  it.effect("is renewed before it is sent, when it has expired", () =>
    Effect.gen(function*() {
      yield* login
      const first = yield* bearer
      const { seen, url } = yield* serve()
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      yield* TestClock.setTime(Duration.toMillis("2 hours"))
      yield* client.get("/me")
      assert.deepStrictEqual(headers(seen), [yield* bearer])
      assert.notStrictEqual(headers(seen)[0], first)
    }).pipe(Effect.provide(program())))

  it.effect("is the one that is valid at each attempt of a retried request", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      yield* login
      const first = yield* bearer
      const { seen, url } = yield* serve((request) => ({ status: request.authorization === first ? 503 : 200 }))
      const client = (yield* AuthHttpClient.make({ baseUrl: url })).pipe(
        HttpClient.transformResponse(Effect.tap((response) => response.status === 503 ? auth.refresh() : Effect.void)),
        HttpClient.retryTransient({ times: 1, schedule: Schedule.recurs(1) })
      )
      assert.strictEqual((yield* client.get("/me")).status, 200)
      assert.deepStrictEqual(headers(seen), [first, yield* bearer])
    }).pipe(Effect.provide(program())))

  it.effect("is missing where nobody is signed in: the request fails and is not sent", () =>
    Effect.gen(function*() {
      const { seen, url } = yield* serve()
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const error = yield* Effect.flip(client.get("/me"))
      assert.strictEqual(error._tag, "NotAuthenticated")
      assert.strictEqual(seen.length, 0)
    }).pipe(Effect.provide(program())))

  it.effect("is not sent when its session was signed out meanwhile", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      yield* login
      const { seen, url } = yield* serve()
      const client = yield* Effect.provideService(
        AuthHttpClient.make({ baseUrl: url }),
        AuthManager.AuthManager,
        AuthManager.AuthManager.of({
          ...auth,
          bearerToken: Effect.andThen(Effect.orDie(auth.logout), auth.bearerToken)
        })
      )
      assert.strictEqual((yield* Effect.flip(client.get("/me")))._tag, "NotAuthenticated")
      assert.strictEqual(seen.length, 0)
    }).pipe(Effect.provide(program())))
})

describe("the address", () => {
  const list = HttpApiEndpoint.get("list", "/notes", { success: Schema.String.pipe(HttpApiSchema.asText()) })
  const Api = HttpApi.make("notes").add(HttpApiGroup.make("notes").add(list))

  it.effect("of a typed client is that of the API, with and without a base of its own", () =>
    Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve(() => ({ body: "mine", headers: { "content-type": "text/plain" } }))
      const baseUrl = `${url}/v1`
      const httpClient = yield* AuthHttpClient.make({ baseUrl })
      for (const options of [{ httpClient, baseUrl }, { httpClient }]) {
        const client = yield* HttpApiClient.makeWith(Api, options)
        assert.strictEqual(yield* client.notes.list(), "mine")
      }
      const expected = yield* bearer
      assert.deepStrictEqual(seen.map((entry) => entry.path), ["/v1/notes", "/v1/notes"])
      assert.deepStrictEqual(headers(seen), [expected, expected])
    }).pipe(Effect.provide(program())))

  it.effect("that is put before every request counts, also for where the token goes", () =>
    Effect.gen(function*() {
      yield* login
      const own = yield* serve()
      const other = yield* serve()
      const client = yield* AuthHttpClient.make({ baseUrl: own.url })
      const prepending = (address: string) => HttpClient.mapRequest(client, HttpClientRequest.prependUrl(address))
      yield* prepending("/v2").get("/notes")
      yield* prepending(`${own.url}/v3`).get("/notes")
      yield* prepending(other.url).get("/notes")
      const expected = yield* bearer
      assert.deepStrictEqual(own.seen.map((entry) => entry.path), ["/v2/notes", "/v3/notes"])
      assert.deepStrictEqual(headers(own.seen), [expected, expected])
      assert.deepStrictEqual(headers(other.seen), [undefined])
    }).pipe(Effect.provide(program())))
})

describe("two managers", () => {
  it.effect("have two clients, and none carries or renews the other's session", () =>
    Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve((request) => ({ status: request.path === "/gone" ? 401 : 200 }))
      const elsewhere = yield* Layer.build(Layer.fresh(setup({ rotation: "strict" })))
      const theirs = Context.get(elsewhere, AuthManager.AuthManager)
      const manager = AuthManager.AuthManager.of({
        ...theirs,
        present: (_, request) => Effect.succeed(HttpClientRequest.setHeader(request, "authorization", "theirs"))
      })
      yield* theirs.login(passwordLogin)
      const client = yield* AuthHttpClient.makeWith({ manager, baseUrl: url })
      const own = yield* AuthHttpClient.make({ baseUrl: url })
      yield* client.get("/me")
      yield* own.get("/me")
      yield* client.get("/gone")
      assert.deepStrictEqual(headers(seen), ["theirs", yield* bearer, "theirs", "theirs"])
      assert.strictEqual(yield* renewals, 0)
      assert.strictEqual(yield* Context.get(elsewhere, ScriptedIam.ScriptedIam).count("renew"), 1)
    }).pipe(Effect.provide(program())))
})

describe("the allow-list of origins", () => {
  it.effect("keeps the token from other origins, which are asked without it", () =>
    Effect.gen(function*() {
      yield* login
      const own = yield* serve()
      const other = yield* serve()
      const client = yield* AuthHttpClient.make({ baseUrl: own.url })
      yield* client.get(`${other.url}/me`)
      // the same port under another name is another origin
      yield* client.get(own.url.replace("127.0.0.1", "localhost"))
      assert.deepStrictEqual(headers(other.seen), [undefined])
      assert.deepStrictEqual(headers(own.seen), [undefined])
    }).pipe(Effect.provide(program())))

  it.effect("may name several, and then replaces that of the base", () =>
    Effect.gen(function*() {
      yield* login
      const own = yield* serve()
      const other = yield* serve()
      const client = yield* AuthHttpClient.make({ baseUrl: own.url, origins: [`${other.url}/a/path`] })
      yield* client.get("/me")
      yield* client.get(`${other.url}/me`)
      assert.deepStrictEqual(headers(own.seen), [undefined])
      assert.deepStrictEqual(headers(other.seen), [yield* bearer])
    }).pipe(Effect.provide(program())))

  it.effect("is not fooled by relative URLs that look like hosts", () =>
    Effect.gen(function*() {
      yield* login
      const own = yield* serve()
      const other = yield* serve()
      const host = new URL(other.url).host
      const client = yield* AuthHttpClient.make({ baseUrl: own.url })
      for (const path of [`//${host}/x`, `@${host}/x`, `.${host}/x`, `\\\\${host}\\x`, `/\\${host}/x`]) {
        yield* Effect.ignore(client.get(path))
      }
      yield* Effect.ignore(client.get(`${own.url}@${host}/x`))
      assert.isTrue(headers(other.seen).every((header) => header === undefined))
      assert.isAbove(own.seen.length, 0)
    }).pipe(Effect.provide(program())))
})

describe("redirects", () => {
  for (const status of [301, 302, 303, 307, 308]) {
    it.effect(`a ${status} that stays at the API keeps the token, one that leaves it loses it`, () =>
      Effect.gen(function*() {
        yield* login
        const other = yield* serve()
        const own = yield* serve(({ path }) =>
          path === "/leave"
            ? { status, headers: { location: `${other.url}/landing` } }
            : path === "/stay"
            ? { status, headers: { location: "/landing" } }
            : {}
        )
        const client = yield* AuthHttpClient.make({ baseUrl: own.url })
        const token = yield* bearer
        assert.strictEqual((yield* client.get("/stay")).status, 200)
        assert.deepStrictEqual(headers(own.seen), [token, token])
        assert.strictEqual((yield* client.get("/leave")).status, 200)
        assert.deepStrictEqual(headers(other.seen), [undefined])
      }).pipe(Effect.provide(program())))
  }

  it.effect("a 307 repeats a POST with its body, a 303 makes a GET of it", () =>
    Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve(({ path }) =>
        path.startsWith("/from") ? { status: Number(path.slice(-3)), headers: { location: "/to" } } : {}
      )
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const post = (path: string) =>
        client.execute(HttpClientRequest.post(path).pipe(HttpClientRequest.bodyText("body")))
      yield* post("/from/307")
      yield* post("/from/303")
      const token = yield* bearer
      assert.deepStrictEqual(seen.filter(({ path }) => path === "/to"), [
        { method: "POST", path: "/to", authorization: token, body: "body" },
        { method: "GET", path: "/to", authorization: token, body: "" }
      ])
    }).pipe(Effect.provide(program())))

  it.effect("a header that the caller wrote does not leave the API either", () =>
    Effect.gen(function*() {
      yield* login
      const other = yield* serve()
      const own = yield* serve(() => ({ status: 307, headers: { location: `${other.url}/landing` } }))
      const client = yield* AuthHttpClient.make({ baseUrl: own.url })
      yield* client.get("/leave", { headers: { authorization: "Bearer mine" } })
      assert.deepStrictEqual(headers(own.seen), [yield* bearer])
      assert.deepStrictEqual(headers(other.seen), [undefined])
    }).pipe(Effect.provide(program())))

  it.effect("a foreign host that redirects back gets no token attached to what it chose", () =>
    Effect.gen(function*() {
      yield* login
      let back = ""
      const other = yield* serve(() => ({ status: 302, headers: { location: back } }))
      const own = yield* serve(({ path }) =>
        path === "/leave" ? { status: 307, headers: { location: `${other.url}/hop` } } : {}
      )
      back = `${own.url}/chosen`
      const client = yield* AuthHttpClient.make({ baseUrl: own.url })
      const token = yield* bearer
      yield* client.get("/leave")
      yield* client.get(`${other.url}/first`)
      assert.deepStrictEqual(own.seen.map(({ authorization, path }) => [path, authorization]), [
        ["/leave", token],
        ["/chosen", undefined],
        ["/chosen", undefined]
      ])
      // The next request is a chain of its own.
      yield* client.get("/me")
      assert.strictEqual(headers(own.seen).at(-1), token)
    }).pipe(Effect.provide(program())))

  for (const [method, status] of [["POST", 307], ["POST", 308], ["PUT", 302], ["PUT", 301]] as const) {
    it.effect(`a ${status} hands the body of a ${method} to nobody outside: it is the answer`, () =>
      Effect.gen(function*() {
        yield* login
        const other = yield* serve()
        const own = yield* serve(() => ({ status, headers: { location: `${other.url}/landing` }, body: "moved" }))
        const client = yield* AuthHttpClient.make({ baseUrl: own.url })
        const response = yield* client.execute(
          HttpClientRequest.make(method)("/leave").pipe(HttpClientRequest.bodyText("secret"))
        )
        assert.deepStrictEqual([response.status, yield* response.text], [status, "moved"])
        assert.strictEqual(other.seen.length, 0)
        const listed = yield* AuthHttpClient.make({ baseUrl: own.url, origins: [own.url, other.url] })
        yield* listed.execute(HttpClientRequest.make(method)("/leave").pipe(HttpClientRequest.bodyText("secret")))
        assert.deepStrictEqual(other.seen.map(({ body }) => body), ["secret"])
      }).pipe(Effect.provide(program())))
  }

  it.effect("a key that the caller wrote into a header stays with the API", () =>
    Effect.gen(function*() {
      yield* login
      const own: Array<string | undefined> = []
      const other: Array<string | undefined> = []
      const answering = HttpClient.make((request, url) =>
        Effect.sync(() => {
          const isOwn = url.hostname === "api.example"
          ;(isOwn ? own : other).push(request.headers["x-api-key"])
          return HttpClientResponse.fromWeb(
            request,
            isOwn
              ? new Response(null, { status: 302, headers: { location: "https://other.example/" } })
              : new Response()
          )
        })
      )
      const client = yield* Effect.provideService(
        AuthHttpClient.make({ baseUrl: "https://api.example" }),
        HttpClient.HttpClient,
        answering
      )
      yield* client.get("/me", { headers: { "x-api-key": "secret" } })
      assert.deepStrictEqual([own, other], [["secret"], [undefined]])
    }).pipe(Effect.provide(program())))

  it.effect("that a browser hides is a typed error that says so", () =>
    Effect.gen(function*() {
      yield* login
      const opaque = HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, Response.error())))
      const client = yield* Effect.provideService(
        AuthHttpClient.make({ baseUrl: "https://api.example" }),
        HttpClient.HttpClient,
        opaque
      )
      const error = yield* Effect.flip(client.get("/me"))
      assert.strictEqual(error._tag, "HttpClientError")
      assert.include(error.message, "answers with a redirect")
      assert.notInclude(error.message, yield* bearer)
    }).pipe(Effect.provide(program())))

  it.effect("a circle ends with the redirect as the answer", () =>
    Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve(() => ({ status: 302, headers: { location: "/again" } }))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      assert.strictEqual((yield* client.get("/again")).status, 302)
      assert.strictEqual(seen.length, 11)
    }).pipe(Effect.provide(program())))
})

describe("a 401", () => {
  it.effect("renews once and sends the request once more, with its body", () =>
    Effect.gen(function*() {
      yield* login
      const first = yield* bearer
      const { seen, url } = yield* serve(refusing(first))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const response = yield* client.execute(
        HttpClientRequest.put("/me").pipe(HttpClientRequest.bodyJsonUnsafe({ name: "Ada" }))
      )
      assert.strictEqual(response.status, 200)
      assert.strictEqual(yield* response.text, "yes")
      assert.deepStrictEqual(seen.map((entry) => [entry.authorization, entry.body]), [
        [first, "{\"name\":\"Ada\"}"],
        [yield* bearer, "{\"name\":\"Ada\"}"]
      ])
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(program())))

  it.effect("that comes again is the answer: no third request, no second renewal", () =>
    Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve(() => ({ status: 401, body: "never" }))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const response = yield* client.get("/me")
      assert.strictEqual(response.status, 401)
      assert.strictEqual(yield* response.text, "never")
      assert.strictEqual(seen.length, 2)
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(program())))

  it.live("staggered among many requests leads to one renewal", () =>
    Effect.gen(function*() {
      yield* login
      const first = yield* bearer
      let delayMillis = 0
      const { seen, url } = yield* serve((request) =>
        request.authorization === first ? { status: 401, delayMillis: delayMillis += 5 } : {}
      )
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const responses = yield* Effect.all(Array.from({ length: 50 }, () => client.get("/me")), {
        concurrency: "unbounded"
      })
      assert.isTrue(responses.every((response) => response.status === 200))
      assert.strictEqual(seen.length, 100)
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(program())))

  it.effect("to a streamed body renews, but is the answer: what was streamed is gone", () =>
    Effect.gen(function*() {
      yield* login
      const first = yield* bearer
      const { seen, url } = yield* serve(refusing(first))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const upload = HttpClientRequest.post("/upload").pipe(
        HttpClientRequest.bodyStream(Stream.make(new TextEncoder().encode("once")))
      )
      assert.strictEqual((yield* client.execute(upload)).status, 401)
      assert.deepStrictEqual(seen.map((entry) => entry.body), ["once"])
      assert.strictEqual(yield* renewals, 1)
      assert.strictEqual((yield* client.execute(upload)).status, 200)
    }).pipe(Effect.provide(program())))

  it.effect("stands when the session cannot be renewed", () =>
    Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve(() => ({ status: 401, body: "no" }))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      yield* ScriptedIam.ScriptedIam.use((iam) =>
        iam.failNext("renew", { reason: new IamError.GrantDead({ detail: "revoked" }) })
      )
      const response = yield* client.get("/me")
      assert.strictEqual(response.status, 401)
      assert.strictEqual(yield* response.text, "no")
      assert.strictEqual(seen.length, 1)
    }).pipe(Effect.provide(program())))

  it.effect("from an origin that got no token means nothing to the session", () =>
    Effect.gen(function*() {
      yield* login
      const own = yield* serve()
      const other = yield* serve(() => ({ status: 401 }))
      const client = yield* AuthHttpClient.make({ baseUrl: own.url })
      assert.strictEqual((yield* client.get(other.url)).status, 401)
      assert.strictEqual(other.seen.length, 1)
      assert.strictEqual(yield* renewals, 0)
    }).pipe(Effect.provide(program())))

  it.effect("is the only status that renews", () =>
    Effect.gen(function*() {
      yield* login
      const { seen, url } = yield* serve(({ path }) => ({ status: Number(path.slice(1)) }))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      for (const status of [400, 403, 404, 410, 429, 500, 503]) {
        assert.strictEqual((yield* client.get(`/${status}`)).status, status)
      }
      assert.strictEqual(seen.length, 7)
      assert.strictEqual(yield* renewals, 0)
    }).pipe(Effect.provide(program())))
})

describe("an API that wants another login of the person (RFC 9470)", () => {
  const asks = (header: string, status = 401) =>
    Effect.gen(function*() {
      const { seen, url } = yield* serve(() => ({ status, headers: { "www-authenticate": header } }))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const told = yield* client.get("/safe").pipe(
        Effect.match({
          onFailure: (error) => error._tag === "StepUpRequired" ? error.parameters : error._tag,
          onSuccess: (response) => response.status
        })
      )
      return { told, requests: seen.length, renewals: yield* renewals }
    })

  it.effect("is an error that has what the login is asked with; nothing is renewed, and nothing sent again", () =>
    Effect.gen(function*() {
      yield* login
      const error = "error=\"insufficient_user_authentication\""
      for (
        const [header, parameters] of [
          [`Bearer ${error}, acr_values="phr mfa", max_age="600"`, { acr_values: "phr mfa", max_age: "600" }],
          [`Bearer realm="x", ${error}, max_age=5`, { max_age: "5" }],
          [`Basic realm="a, b", DPoP algs="ES256", ${error}, acr_values="mfa"`, { acr_values: "mfa" }],
          [`Bearer ${error}, max_age="-1", acr_values=""`, {}],
          [`Bearer ${error}, max_age="soon"`, {}],
          [`bearer ERROR="insufficient_user_authentication", ACR_VALUES="mfa"`, { acr_values: "mfa" }]
        ] as const
      ) {
        assert.deepStrictEqual(yield* asks(header), { told: parameters, requests: 1, renewals: 0 }, header)
      }
    }).pipe(Effect.provide(program())))

  it.effect("is an error also where the token had to be renewed first", () =>
    Effect.gen(function*() {
      yield* login
      const first = yield* bearer
      const header = "Bearer error=\"insufficient_user_authentication\", acr_values=\"mfa\""
      const { seen, url } = yield* serve(({ authorization }) => ({
        status: 401,
        headers: { "www-authenticate": authorization === first ? "Bearer error=\"invalid_token\"" : header }
      }))
      const client = yield* AuthHttpClient.make({ baseUrl: url })
      const error = yield* Effect.flip(client.get("/safe"))
      assert.deepStrictEqual(error._tag === "StepUpRequired" ? error.parameters : error, { acr_values: "mfa" })
      assert.strictEqual(seen.length, 2)
      assert.strictEqual(yield* renewals, 1)
    }).pipe(Effect.provide(program())))

  it.effect("is not to be seen in another status, scheme or error", () =>
    Effect.gen(function*() {
      yield* login
      assert.strictEqual((yield* asks("Bearer error=\"insufficient_user_authentication\"", 403)).told, 403)
      for (
        const header of [
          "Basic realm=\"error=\\\"insufficient_user_authentication\\\"\"",
          "Basic error=\"insufficient_user_authentication\"",
          "Bearer error=\"invalid_token\", acr_values=\"mfa\""
        ]
      ) assert.strictEqual((yield* asks(header)).told, 401, header)
    }).pipe(Effect.provide(program())))

  it.effect("reads what BearerAuth writes", () =>
    Effect.gen(function*() {
      yield* login
      const refusal = new BearerAuth.Unauthorized({ realm: "safe", acrValues: "mfa", maxAge: 60 })
      const { told } = yield* asks(BearerAuth.challenge(refusal))
      assert.deepStrictEqual(told, { acr_values: "mfa", max_age: "60" })
    }).pipe(Effect.provide(program())))
})

describe("what cannot work", () => {
  it.effect("a token that would go over plain http to another machine", () =>
    Effect.gen(function*() {
      const baseUrl = "https://api.example.com"
      for (
        const options of [
          { baseUrl: "http://api.example.com" },
          { baseUrl, origins: [baseUrl, "http://10.0.0.1:8080"] },
          { baseUrl, origins: ["http://localhost.example.com"] }
        ]
      ) {
        const error = yield* Effect.flip(AuthHttpClient.make(options))
        assert.isTrue(error._tag === "IamError" && error.reason._tag === "Misconfigured")
        assert.include(error.message, "plain http")
      }
      for (const address of ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"]) {
        yield* AuthHttpClient.make({ baseUrl: address })
      }
      // Without the token, plain http is nobody's secret.
      yield* AuthHttpClient.make({ baseUrl: "http://api.example.com", origins: [baseUrl] })
    }).pipe(Effect.provide(program())))

  for (const baseUrl of ["", "not a url", "/relative", "localhost:3000", "api.example.com", "file:///etc", "data:,x"]) {
    it.effect(`a base of ${JSON.stringify(baseUrl)} is a typed error that says what to write`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(AuthHttpClient.make({ baseUrl }))
        assert.strictEqual(error._tag, "IamError")
        assert.strictEqual(error.reason._tag, "Misconfigured")
        assert.include(error.message, `"${baseUrl}"`)
        assert.include(error.message, "https://")
      }).pipe(Effect.provide(program())))
  }

  it.effect("an origin that is no URL is a typed error, too", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        AuthHttpClient.make({ baseUrl: "https://api.example.com", origins: ["https://api.example.com", "other"] })
      )
      assert.include(error.message, "\"other\"")
      const base = yield* Effect.flip(AuthHttpClient.make({ baseUrl: "base", origins: ["https://api.example.com"] }))
      assert.include(base.message, "\"base\"")
    }).pipe(Effect.provide(program())))

  it.effect("an API that is down fails as with any client", () =>
    Effect.gen(function*() {
      yield* login
      const client = yield* AuthHttpClient.make({ baseUrl: yield* nobody })
      const error = yield* Effect.flip(client.get("/me"))
      assert.strictEqual(error._tag, "HttpClientError")
      assert.strictEqual(yield* renewals, 0)
    }).pipe(Effect.provide(program())))
})
