import { BearerAuth, Jwks, JwtCodec } from "@effect-authn/core"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, type FileSystem, Layer, type Path, Redacted, Schema } from "effect"
import { type Etag, HttpClient, HttpClientRequest, type HttpPlatform, HttpRouter } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema
} from "effect/http-api"
import { TestClock } from "effect/testing"
import * as jose from "jose"

const keys = jose.generateKeyPair("ES256")

const sign = (claims: { readonly [name: string]: Schema.Json }) =>
  Effect.gen(function*() {
    const codec = yield* JwtCodec.JwtCodec
    const { privateKey } = yield* Effect.promise(() => keys)
    return Redacted.value(yield* codec.sign({ iss: "https://iam.example", exp: 3600, ...claims }, privateKey))
  })

// What a call gets, over a real socket.
const call = (path: string, authorization?: string) =>
  Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient
    const request = HttpClientRequest.get(path)
    const response = yield* client.execute(
      authorization === undefined ? request : HttpClientRequest.setHeader(request, "authorization", authorization)
    )
    return {
      status: response.status,
      challenge: response.headers["www-authenticate"],
      body: yield* response.json
    }
  })

// An API with the middleware and identity as they come.

const Api = HttpApi.make("api").add(
  HttpApiGroup.make("records").add(
    HttpApiEndpoint.get("who", "/who", { success: Schema.Json }),
    HttpApiEndpoint.get("write", "/write", { success: Schema.Json })
      .annotate(BearerAuth.RequiredScope, "records:read records:write"),
    HttpApiEndpoint.get("vip", "/vip", { success: Schema.Json })
  ).middleware(BearerAuth.BearerAuth)
)

const handlers = HttpApiBuilder.group(Api, "records", (handlers) =>
  handlers.handleAll({
    who: () => Effect.map(BearerAuth.Identity, ({ claims, scopes }) => ({ sub: String(claims.sub), scopes })),
    write: () => Effect.succeed("written"),
    vip: () => Effect.fail(new BearerAuth.InsufficientScope({ scope: "vip", description: "not for you" }))
  }))

const revoked = new Set<unknown>(["dead"])

const auth = Layer.unwrap(Effect.map(Effect.promise(() => keys), ({ publicKey }) =>
  BearerAuth.layer({
    key: publicKey,
    algorithms: ["ES256"],
    issuer: "https://iam.example",
    anyAudience: true,
    realm: "records \"of\" Ada",
    validate: ({ claims }) =>
      revoked.has(claims.jti)
        ? Effect.fail(new BearerAuth.Unauthorized({ description: "the token was revoked" }))
        : Effect.void
  })))

const serve = (
  routes: Layer.Layer<
    never,
    never,
    | HttpRouter.HttpRouter
    | JwtCodec.JwtCodec
    | Etag.Generator
    | HttpPlatform.HttpPlatform
    | FileSystem.FileSystem
    | Path.Path
  >
) =>
  HttpRouter.serve(routes, { disableListenLog: true, disableLogger: true }).pipe(
    Layer.provideMerge(Layer.merge(JwtCodec.layer, NodeHttpServer.layerTest))
  )

const app = serve(HttpApiBuilder.layer(Api).pipe(Layer.provide(handlers), Layer.provide(auth), Layer.orDie))

describe("BearerAuth", () => {
  it.effect("gives the handler who calls", () =>
    Effect.gen(function*() {
      const claims = { sub: "ada", scope: "records:read  mail" }
      for (const scheme of ["Bearer", "bearer"]) {
        const { body, challenge, status } = yield* call("/who", `${scheme} ${yield* sign(claims)}`)
        assert.strictEqual(status, 200)
        assert.strictEqual(challenge, undefined)
        assert.deepStrictEqual(body, { sub: "ada", scopes: ["records:read", "mail"] })
      }
      const { body } = yield* call("/who", `Bearer ${yield* sign({ sub: "bob", scp: ["mail", 7] })}`)
      assert.deepStrictEqual(body, { sub: "bob", scopes: ["mail"] })
    }).pipe(Effect.provide(app)))

  it.effect("asks for a token, without an error code, when none was sent", () =>
    Effect.gen(function*() {
      for (const authorization of [undefined, "Basic YWRhOmFkYQ==", "Bearer ", "Bearer"]) {
        const { challenge, status } = yield* call("/who", authorization)
        assert.strictEqual(status, 401)
        assert.strictEqual(challenge, "Bearer realm=\"records 'of' Ada\"")
      }
    }).pipe(Effect.provide(app)))

  it.effect("answers 401 invalid_token with what is wrong, and shows no token", () =>
    Effect.gen(function*() {
      const good = yield* sign({ sub: "ada" })
      const invalid = [
        ["garbage", "not a JWT"],
        [`${good.slice(0, -8)}AAAAAAAA`, "signature"],
        [yield* sign({ sub: "ada", iss: "https://other.example" }), "another issuer"],
        [yield* sign({ sub: "ada", exp: 0 }), "expired"],
        [yield* sign({ sub: "ada", nbf: 1 }), "not valid before"],
        [yield* sign({ sub: "ada", jti: "dead" }), "revoked"]
      ] as const
      for (const [token, why] of invalid) {
        const { body, challenge = "", status } = yield* call("/who", `Bearer ${token}`)
        assert.strictEqual(status, 401)
        assert.match(challenge, /^Bearer realm="records 'of' Ada", error="invalid_token", error_description="[^"\\]+"$/)
        assert.include(challenge, why)
        assert.notInclude(`${challenge} ${JSON.stringify(body)}`, token)
      }
      yield* TestClock.adjust("1 hour")
      assert.include((yield* call("/who", `Bearer ${good}`)).challenge, "expired")
    }).pipe(Effect.provide(app)))

  it.effect("answers 403 insufficient_scope with the scope that is wanted", () =>
    Effect.gen(function*() {
      const partly = yield* call("/write", `Bearer ${yield* sign({ scope: "records:write" })}`)
      assert.strictEqual(partly.status, 403)
      assert.strictEqual(
        partly.challenge,
        "Bearer realm=\"records 'of' Ada\", error=\"insufficient_scope\", " +
          "error_description=\"the token's scope is too small\", scope=\"records:read records:write\""
      )
      const wholly = yield* call("/write", `Bearer ${yield* sign({ scope: "records:write records:read" })}`)
      assert.deepStrictEqual([wholly.status, wholly.body], [200, "written"])
      const byHandler = yield* call("/vip", `Bearer ${yield* sign({})}`)
      assert.strictEqual(byHandler.status, 403)
      assert.strictEqual(
        byHandler.challenge,
        "Bearer error=\"insufficient_scope\", error_description=\"not for you\", scope=\"vip\""
      )
    }).pipe(Effect.provide(app)))

  it.effect("gives a typed client the errors as values", () =>
    Effect.gen(function*() {
      const client = yield* HttpApiClient.make(Api)
      const error = yield* Effect.flip(client.records.who())
      assert.strictEqual(error._tag, "Unauthorized")
      assert.strictEqual(error.message, "no bearer token was sent")
      const bearer = HttpClient.mapRequest(HttpClientRequest.bearerToken(yield* sign({ scope: "records:read" })))
      const reader = yield* HttpApiClient.make(Api, { transformClient: bearer })
      const refused = yield* Effect.flip(reader.records.write())
      assert.strictEqual(refused._tag === "InsufficientScope" ? refused.scope : "", "records:read records:write")
    }).pipe(Effect.provide(app)))

  it.effect("answers 401 to a token of an algorithm that its one key is not for, and 503 where its key is for none", () =>
    Effect.gen(function*() {
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
      const junk = `${part({ alg: "RS256" })}.${part({ sub: "eve", exp: 4_000_000_000 })}.AAAA`
      for (const [algorithms, expected] of [[["RS256", "ES256", "EdDSA"], 401], [["RS256"], 503]] as const) {
        const [answer] = yield* ask(
          (key) => BearerAuth.layer({ realm: "records", key, algorithms, anyAudience: true }),
          [junk]
        )
        assert.strictEqual(answer!.status, expected)
      }
    }))

  it.effect("answers 503, never 401, while it has no keys", () =>
    Effect.gen(function*() {
      const { body, challenge, status } = yield* call("/who", `Bearer ${yield* sign({ sub: "ada" })}`)
      assert.deepStrictEqual([status, challenge], [503, undefined])
      assert.deepStrictEqual(body, { _tag: "KeysUnavailable" })
    }).pipe(
      Effect.provide(serve(
        HttpApiBuilder.layer(Api).pipe(
          Layer.provide(handlers),
          Layer.provide(Layer.unwrap(Effect.map(
            // Nobody listens there.
            Jwks.remote("http://127.0.0.1:9/jwks"),
            (jwks) => BearerAuth.layer({ jwks, algorithms: ["ES256"], audience: "records", realm: "records" })
          ))),
          Layer.provide(NodeHttpServer.layerTest),
          Layer.orDie
        )
      ))
    ))
})

// What a token gets, in memory, from a server with these options.
const ask = Effect.fnUntraced(function*(
  options: (key: CryptoKey) => Layer.Layer<BearerAuth.BearerAuth, never, JwtCodec.JwtCodec>,
  tokens: ReadonlyArray<string>
) {
  const { publicKey } = yield* Effect.promise(() => keys)
  return yield* Effect.forEach(tokens, (token) => call("/who", `Bearer ${token}`)).pipe(
    Effect.provide(serve(
      HttpApiBuilder.layer(Api).pipe(
        Layer.provide(handlers),
        Layer.provide(options(publicKey)),
        Layer.orDie
      )
    ))
  )
})

const typed = (typ: string | undefined, claims: jose.JWTPayload) =>
  Effect.promise(async () => {
    const { privateKey } = await keys
    return new jose.SignJWT(claims).setProtectedHeader({ alg: "ES256", ...(typ === undefined ? {} : { typ }) })
      .sign(privateKey)
  })

const whole = { iss: "https://iam.example", aud: "records", exp: 3600 }
const base = { algorithms: ["ES256"], realm: "records" } as const

describe("A JWT that is not strict enough", () => {
  const told = (answers: ReadonlyArray<{ readonly status: number; readonly challenge: string | undefined }>) =>
    answers.map(({ challenge = "", status }) =>
      status === 401 ? /error_description="([^"]*)"/.exec(challenge)?.[1] : status
    )

  it.effect("is refused: without an end, for nobody, of another kind, or bound to a key", () =>
    Effect.gen(function*() {
      const { exp: _exp, ...endless } = whole
      const { aud: _aud, ...forNobody } = whole
      const tokens = [
        yield* typed("JWT", whole),
        yield* typed(undefined, { ...whole, aud: ["others", "records"] }),
        yield* typed("application/AT+jwt", whole),
        yield* typed("JWT", endless),
        yield* typed("JWT", forNobody),
        yield* typed("JWT", { ...whole, aud: "others" }),
        yield* typed("logout+jwt", whole),
        yield* typed("", whole),
        yield* typed("JWT", { ...whole, cnf: { jkt: "thumbprint" } })
      ]
      const answers = yield* ask((key) => BearerAuth.layer({ ...base, key, audience: "records" }), tokens)
      assert.deepStrictEqual(told(answers), [
        200,
        200,
        200,
        "the token has no 'exp' claim",
        "the token has no 'aud' claim",
        "the token is meant for another audience than records",
        "the token is of another kind (typ) than JWT or at+jwt",
        "the token is of another kind (typ) than JWT or at+jwt",
        "the token is bound to a key, and came without a proof of it"
      ])
      const open = yield* ask(
        (key) => BearerAuth.layer({ ...base, key, anyAudience: true, anyTyp: true, endless: true, unproven: true }),
        tokens
      )
      assert.deepStrictEqual(told(open), tokens.map(() => 200))
    }))

  it.effect("is refused by a server that has no name, where it names somebody", () =>
    Effect.gen(function*() {
      const nameless = { ...base, audience: undefined }
      const answers = yield* ask(
        // @ts-expect-error -- the types demand a name
        (key) => BearerAuth.layer({ ...nameless, key }),
        [yield* typed("JWT", whole)]
      )
      assert.deepStrictEqual(told(answers), ["the token is meant for an audience, and this server has no name"])
    }))

  it.effect("is refused by RFC 9068, where that is asked for", () =>
    Effect.gen(function*() {
      const claims = { ...whole, sub: "ada", client_id: "app", iat: 0, jti: "1" }
      const { client_id: _, ...without } = claims
      const answers = yield* ask(
        (key) => BearerAuth.layer({ ...base, ...BearerAuth.rfc9068, key, issuer: whole.iss, audience: "records" }),
        [yield* typed("at+jwt", claims), yield* typed("JWT", claims), yield* typed("at+jwt", without)]
      )
      assert.deepStrictEqual(told(answers), [
        200,
        "the token is of another kind (typ) than at+jwt",
        "the token has no 'client_id' claim"
      ])
    }))
})

describe("A verifier of one's own", () => {
  const verifier: BearerAuth.TokenVerifier = {
    verify: (token) => {
      const payload = { sub: "robot", scope: "records:read" }
      switch (Redacted.value(token)) {
        case "good":
          return Effect.succeed({ header: {}, claims: payload, payload })
        case "away":
          return Effect.fail(new BearerAuth.KeysUnavailable({ retryAfter: 7 }))
        default:
          return Effect.fail(new BearerAuth.Unauthorized({ description: "the token is unknown" }))
      }
    }
  }
  const served = serve(
    HttpApiBuilder.layer(Api).pipe(
      Layer.provide(handlers),
      Layer.provide(BearerAuth.layer({ realm: "records", verifier })),
      Layer.orDie
    )
  )

  it.effect("decides who calls; scopes are compared as ever", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* call("/who", "Bearer good")).body, { sub: "robot", scopes: ["records:read"] })
      assert.strictEqual((yield* call("/write", "Bearer good")).status, 403)
      const { challenge } = yield* call("/who", "Bearer bad")
      assert.include(
        challenge,
        "realm=\"records\", error=\"invalid_token\", error_description=\"the token is unknown\""
      )
      assert.strictEqual((yield* call("/who")).challenge, "Bearer realm=\"records\"")
    }).pipe(Effect.provide(served)))

  it.effect("that cannot tell is a 503 with Retry-After, and no 401", () =>
    Effect.gen(function*() {
      const response = yield* HttpClient.execute(
        HttpClientRequest.get("/who").pipe(HttpClientRequest.bearerToken("away"))
      )
      assert.deepStrictEqual([response.status, response.headers["retry-after"]], [503, "7"])
      const bearer = HttpClient.mapRequest(HttpClientRequest.bearerToken("away"))
      const client = yield* HttpApiClient.make(Api, { transformClient: bearer })
      const error = yield* Effect.flip(client.records.who())
      assert.strictEqual(error._tag === "KeysUnavailable" ? error.retryAfter : undefined, 7)
    }).pipe(Effect.provide(served)))
})

describe("A login that is not enough", () => {
  const Vault = HttpApi.make("vault").add(
    HttpApiGroup.make("vault").add(
      HttpApiEndpoint.get("open", "/open", { success: Schema.Json, error: BearerAuth.errors }),
      HttpApiEndpoint.get("recent", "/recent", { success: Schema.Json, error: BearerAuth.errors })
    ).middleware(BearerAuth.BearerAuth)
  )
  const requires = (options: Parameters<typeof BearerAuth.requireLogin>[1]) =>
    Effect.flatMap(BearerAuth.Identity, (caller) => Effect.as(BearerAuth.requireLogin(caller, options), "open"))
  const handlers = HttpApiBuilder.group(Vault, "vault", (handlers) =>
    handlers.handleAll({
      open: () => requires({ acrValues: ["phr", "mfa"], maxAge: "10 minutes" }),
      recent: () => requires({ maxAge: "10 minutes" })
    }))
  const served = serve(HttpApiBuilder.layer(Vault).pipe(Layer.provide(handlers), Layer.provide(auth), Layer.orDie))

  it.effect("is a 401 that says which login would be (RFC 9470)", () =>
    Effect.gen(function*() {
      const told = (path: string, claims: { readonly [name: string]: Schema.Json }) =>
        Effect.flatMap(sign(claims), (token) =>
          Effect.map(
            call(path, `Bearer ${token}`),
            ({ challenge = "", status }) =>
              status === 200 ? "open" : challenge.replace("realm=\"records 'of' Ada\", ", "")
          ))
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual(yield* told("/open", { acr: "mfa", auth_time: 600 }), "open")
      assert.strictEqual(yield* told("/recent", { auth_time: 601 }), "open")
      const stronger =
        "Bearer error=\"insufficient_user_authentication\", error_description=\"sign in in a stronger way\", acr_values=\"phr mfa\", max_age=\"600\""
      for (const acr of [{}, { acr: "pwd" }, { acr: "m" }, { acr: ["mfa"] }]) {
        assert.strictEqual(yield* told("/open", { ...acr, auth_time: 600 }), stronger)
      }
      const again =
        "Bearer error=\"insufficient_user_authentication\", error_description=\"the login is too long ago: sign in again\", max_age=\"600\""
      for (const time of [{}, { auth_time: 599 }, { auth_time: "1200" }, { auth_time: 1_200_000_000_000 }]) {
        assert.strictEqual(yield* told("/recent", time), again)
      }
    }).pipe(Effect.provide(served)))
})

describe("RequiredScope", () => {
  const Notes = HttpApi.make("notes").add(
    HttpApiGroup.make("notes").add(
      HttpApiEndpoint.get("read", "/read", { success: Schema.Json }),
      HttpApiEndpoint.get("write", "/write", { success: Schema.Json })
        .annotate(BearerAuth.RequiredScope, "notes:write notes:read")
    ).annotate(BearerAuth.RequiredScope, "member notes:read").middleware(BearerAuth.BearerAuth)
  )
  const handlers = HttpApiBuilder.group(
    Notes,
    "notes",
    (handlers) => handlers.handleAll({ read: () => Effect.succeed("read"), write: () => Effect.succeed("written") })
  )
  const notes = serve(HttpApiBuilder.layer(Notes).pipe(Layer.provide(handlers), Layer.provide(auth), Layer.orDie))

  it.effect("of an endpoint adds to its group's, and never replaces it", () =>
    Effect.gen(function*() {
      const status = (path: string, scope: string) =>
        Effect.flatMap(sign({ scope }), (token) => Effect.map(call(path, `Bearer ${token}`), ({ status }) => status))
      assert.strictEqual(yield* status("/read", "member notes:read"), 200)
      assert.strictEqual(yield* status("/read", "notes:read"), 403)
      assert.strictEqual(yield* status("/write", "notes:write notes:read"), 403)
      assert.strictEqual(yield* status("/write", "member notes:read"), 403)
      assert.strictEqual(yield* status("/write", "member notes:write notes:read"), 200)
      const { challenge } = yield* call("/write", `Bearer ${yield* sign({})}`)
      assert.include(challenge, "scope=\"member notes:read notes:write\"")
    }).pipe(Effect.provide(notes)))
})

// An API with an identity and with bodies of its own.

class Member extends Context.Service<Member, { readonly name: string; readonly project: number }>()(
  "@effect-authn/core/test/BearerAuth.test/Member"
) {}

const failure = Schema.Struct({ success: Schema.Literal(false), message: Schema.String })
const inOurShape = { "www-authenticate": Schema.optionalKey(Schema.String) }

class MemberAuth extends HttpApiMiddleware.Service<MemberAuth, { provides: Member }>()("test/MemberAuth", {
  security: BearerAuth.security,
  error: [
    BearerAuth.Unauthorized.pipe(HttpApiSchema.encodeToWithHeaders({
      body: failure.pipe(HttpApiSchema.status(401)),
      headers: inOurShape
    }, {
      decode: ({ body }) => new BearerAuth.Unauthorized({ description: body.message }),
      encode: (error) => ({
        body: { success: false as const, message: error.message },
        headers: { "www-authenticate": BearerAuth.challenge(error) }
      })
    })),
    ...BearerAuth.errors.slice(1)
  ]
}) {}

class Projects extends Context.Service<Projects, { readonly open: ReadonlyArray<number> }>()(
  "@effect-authn/core/test/BearerAuth.test/Projects"
) {}

const ProjectApi = HttpApi.make("projects").add(
  HttpApiGroup.make("projects").add(HttpApiEndpoint.get("mine", "/mine", { success: Schema.Json })).middleware(
    MemberAuth
  )
)

const projectApp = serve(
  HttpApiBuilder.layer(ProjectApi).pipe(
    Layer.provide(
      HttpApiBuilder.group(
        ProjectApi,
        "projects",
        (handlers) => handlers.handle("mine", () => Effect.map(Member, ({ name, project }) => ({ name, project })))
      )
    ),
    Layer.provide(
      Layer.unwrap(Effect.map(Effect.promise(() => keys), ({ publicKey }) =>
        BearerAuth.layerFor(MemberAuth, Member, {
          key: publicKey,
          algorithms: ["ES256"],
          anyAudience: true,
          realm: "projects",
          claims: Schema.Struct({ sub: Schema.String, projectId: Schema.Int }),
          identify: Effect.fnUntraced(function*({ claims }) {
            const { open } = yield* Projects
            return open.includes(claims.projectId)
              ? { name: claims.sub, project: claims.projectId }
              : yield* new BearerAuth.InsufficientScope({ description: `the token is for project ${claims.projectId}` })
          })
        })))
    ),
    Layer.provide(Layer.succeed(Projects, { open: [1, 2] })),
    Layer.orDie
  )
)

describe("BearerAuth.layerFor", () => {
  it.effect("makes an identity of the claims, by their schema", () =>
    Effect.gen(function*() {
      const { body } = yield* call("/mine", `Bearer ${yield* sign({ sub: "ada", projectId: 2 })}`)
      assert.deepStrictEqual(body, { name: "ada", project: 2 })
      const untyped = yield* call("/mine", `Bearer ${yield* sign({ sub: "ada", projectId: "2" })}`)
      assert.strictEqual(untyped.status, 401)
      assert.include(untyped.challenge, "error=\"invalid_token\"")
    }).pipe(Effect.provide(projectApp)))

  it.effect("lets it refuse a project, and keeps the bodies of the API", () =>
    Effect.gen(function*() {
      const other = yield* call("/mine", `Bearer ${yield* sign({ sub: "ada", projectId: 3 })}`)
      assert.strictEqual(other.status, 403)
      assert.strictEqual(
        other.challenge,
        "Bearer realm=\"projects\", error=\"insufficient_scope\", error_description=\"the token is for project 3\""
      )
      const none = yield* call("/mine")
      assert.deepStrictEqual(none, {
        status: 401,
        challenge: "Bearer realm=\"projects\"",
        body: { success: false, message: "no bearer token was sent" }
      })
    }).pipe(Effect.provide(projectApp)))
})
