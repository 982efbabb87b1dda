import { BearerAuth, Jwks, JwtCodec } from "@effect-authn/core"
import { McpServerAuth, ProtectedResource } from "@effect-authn/mcp"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { McpClient, McpProtocol, McpServer, Tool, Toolkit } from "effect/ai"
import { HttpClient, HttpClientRequest, HttpRouter, HttpServerResponse } from "effect/http"
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto"

const resource = "https://mcp.example/mcp"
const issuer = "https://idp.example"
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
const jwk = { ...publicKey.export({ format: "jwk" }), alg: "ES256", kid: "k" }
const signing = Redacted.make({ ...privateKey.export({ format: "jwk" }), alg: "ES256", kid: "k" })

const Remove = Tool.make("remove", { description: "removes", parameters: Tool.EmptyParams, success: Schema.String })
const Who = Tool.make("who", { description: "who", parameters: Tool.EmptyParams, success: Schema.String })
const tools = Toolkit.make(Remove, Who)

const auth = Layer.unwrap(Effect.map(Jwks.local({ keys: [jwk] }), (jwks) =>
  McpServerAuth.layer({
    resource,
    issuers: [issuer],
    jwks,
    algorithms: ["ES256"],
    scopes: ["mcp"],
    scopesOf: ({ name }) => name === "remove" ? ["write"] : []
  })))

const app = McpServer.layerHttp({
  name: "protected",
  version: "1",
  path: "/mcp",
  protocols: [McpProtocol.v2025_11_25],
  registrations: McpServer.toolkit(tools).pipe(
    Layer.provide(tools.toLayer({ remove: () => Effect.succeed("removed"), who: () => Effect.succeed("you") }))
  )
}).pipe(Layer.provide(auth))

const services = HttpRouter.serve(app, { disableListenLog: true, disableLogger: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provideMerge(JwtCodec.layer)
)

const token = Effect.fnUntraced(function*(claims: Record<string, Schema.Json>) {
  const codec = yield* JwtCodec.JwtCodec
  const now = Math.floor(Date.now() / 1000)
  return Redacted.value(
    yield* codec.sign({ iss: issuer, aud: resource, exp: now + 600, scope: "mcp", ...claims }, signing)
  )
})

const call = Effect.fnUntraced(function*(bearer?: string, params: object = {}, method = "tools/call") {
  const response = yield* HttpClient.execute(
    HttpClientRequest.post("/mcp").pipe(
      HttpClientRequest.setHeaders({
        accept: "application/json, text/event-stream",
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` })
      }),
      HttpClientRequest.bodyJsonUnsafe({ jsonrpc: "2.0", id: 1, method, params })
    )
  )
  const header = response.headers["www-authenticate"] ?? ""
  const retryAfter = response.headers["retry-after"]
  return { status: response.status, header, retryAfter, challenge: ProtectedResource.challenge(header) }
})

describe("McpServerAuth", () => {
  it.live("says where tokens are, to whoever comes without one", () =>
    Effect.gen(function*() {
      const { challenge, header, status } = yield* call()
      assert.strictEqual(status, 401)
      const { error, metadata, scopes } = Option.getOrThrow(challenge)
      assert.deepStrictEqual(scopes, ["mcp"])
      assert.isTrue(Option.isNone(error), header)
      const url = new URL(Option.getOrThrow(metadata))
      assert.strictEqual(url.origin, "https://mcp.example")
      const described = yield* Effect.flatMap(HttpClient.get(url.pathname), ({ json }) => json)
      assert.deepInclude(described, { resource, authorization_servers: [issuer], scopes_supported: ["mcp"] })
    }).pipe(Effect.provide(services)))

  it.live("refuses what was not made for it", () =>
    Effect.gen(function*() {
      const wrong = [
        { aud: "https://other.example" },
        { aud: "https://mcp.example" },
        { aud: [] },
        { iss: "https://other.example" },
        { exp: 1 }
      ]
      for (const claims of wrong) {
        const { challenge, status } = yield* call(yield* token(claims))
        assert.strictEqual(status, 401, JSON.stringify(claims))
        assert.deepStrictEqual(Option.getOrThrow(challenge).error, Option.some("invalid_token"))
      }
      assert.strictEqual((yield* call("not a token")).status, 401)
    }).pipe(Effect.provide(services)))

  it.live("names the scope that an operation needs", () =>
    Effect.gen(function*() {
      const small = yield* token({})
      const { challenge, status } = yield* call(small, { name: "remove", arguments: {} })
      assert.strictEqual(status, 403)
      assert.deepStrictEqual(Option.getOrThrow(challenge).error, Option.some("insufficient_scope"))
      assert.deepStrictEqual(Option.getOrThrow(challenge).scopes, ["mcp", "write"])
      assert.strictEqual((yield* call(yield* token({ scope: "other" }))).status, 403)
    }).pipe(Effect.provide(services)))

  it.live("takes the name of an operation from where its method reads it, not from what stands beside it", () =>
    Effect.gen(function*() {
      const small = yield* token({})
      for (const method of ["resources/read", "resources/subscribe"]) {
        assert.strictEqual((yield* call(small, { name: "who", uri: "remove" }, method)).status, 403, method)
        assert.strictEqual((yield* call(small, { name: 5, uri: "remove" }, method)).status, 403, method)
        assert.notStrictEqual((yield* call(small, { name: "remove", uri: "who" }, method)).status, 403, method)
      }
      assert.strictEqual((yield* call(small, { name: "remove", uri: "who" })).status, 403)
    }).pipe(Effect.provide(services)))

  it.live("lets a client of effect in, whose token is good", () =>
    Effect.gen(function*() {
      const bearer = yield* token({ scope: "mcp write" })
      const client = HttpClient.mapRequest(
        yield* HttpClient.HttpClient,
        HttpClientRequest.setHeader("authorization", `Bearer ${bearer}`)
      )
      const names = yield* Effect.gen(function*() {
        const mcp = yield* McpClient.McpClient
        const found = yield* mcp.listTools()
        const remove = found.find(({ name }) => name === "remove")!
        yield* mcp.callTool({ tool: remove, arguments: {} })
        return found.map(({ name }) => name)
      }).pipe(Effect.provide(
        McpClient.layerHttp({ name: "c", version: "1", url: "/mcp", protocol: McpProtocol.v2025_11_25 }).pipe(
          Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
        )
      ))
      assert.sameMembers(names, ["remove", "who"])
      assert.isDefined(BearerAuth.Identity)
    }).pipe(Effect.provide(services)))

  it.live("takes tokens that are no JWTs by a verifier, and no token that is bound to a key", () =>
    Effect.gen(function*() {
      const verifier: BearerAuth.TokenVerifier = {
        verify: (token) => {
          const payload = { sub: "robot", scope: "mcp" }
          switch (Redacted.value(token)) {
            case "opaque":
              return Effect.succeed({ header: {}, claims: payload, payload })
            case "bound":
              return Effect.succeed({ header: {}, claims: payload, payload: { ...payload, cnf: { jkt: "x" } } })
            case "away":
              return Effect.fail(new BearerAuth.KeysUnavailable({ retryAfter: 3 }))
            default:
              return Effect.fail(new BearerAuth.Unauthorized({ description: "it is unknown" }))
          }
        }
      }
      const routes = HttpRouter.add(
        "POST",
        "/mcp",
        Effect.map(BearerAuth.Identity, ({ claims }) => HttpServerResponse.text(String(claims.sub)))
      ).pipe(
        Layer.provide(McpServerAuth.layer({ resource, issuers: [issuer], verifier, scopes: ["mcp"] }))
      )
      const app = HttpRouter.serve(routes, { disableListenLog: true, disableLogger: true }).pipe(
        Layer.provideMerge(NodeHttpServer.layerTest),
        Layer.provideMerge(JwtCodec.layer)
      )
      const [opaque, bound, away, unknown] = yield* Effect.provide(
        Effect.forEach(["opaque", "bound", "away", "unknown"], (token) => call(token)),
        app
      )
      assert.strictEqual(opaque?.status, 200)
      assert.include(bound?.header, "bound to a key")
      assert.deepStrictEqual([away?.status, away?.retryAfter], [503, "3"])
      assert.include(unknown?.header, "it is unknown")
    }))

  it.live("takes tokens that are bound to a key with a proof of it, once, and says where they are needed", () =>
    Effect.gen(function*() {
      const codec = yield* JwtCodec.JwtCodec
      const jwks = yield* Jwks.local({ keys: [jwk] })
      const serve = (required?: true) =>
        HttpRouter.serve(
          HttpRouter.add(
            "POST",
            "/mcp",
            Effect.map(BearerAuth.Identity, ({ claims }) => HttpServerResponse.text(String(claims.sub)))
          ).pipe(Layer.provide(
            McpServerAuth.layer({ resource, issuers: [issuer], jwks, algorithms: ["ES256"], dpop: { required } })
          )),
          { disableListenLog: true, disableLogger: true }
        ).pipe(Layer.provideMerge(NodeHttpServer.layerTest), Layer.provide(Layer.succeed(JwtCodec.JwtCodec, codec)))
      const holder = generateKeyPairSync("ec", { namedCurve: "P-256" })
      const { crv, kty, x, y } = holder.publicKey.export({ format: "jwk" })
      const digest = (text: string) => createHash("sha256").update(text).digest("base64url")
      const jkt = digest(JSON.stringify({ crv, kty, x, y }))
      const [bound, free] = [yield* token({ sub: "ada", cnf: { jkt } }), yield* token({ sub: "ada" })]
      const proof = (htu: string) => {
        const header = { alg: "ES256", typ: "dpop+jwt", jwk: { crv, kty, x, y } }
        const iat = Math.floor(Date.now() / 1000)
        const claims = { htm: "POST", htu, ath: digest(bound), jti: randomUUID(), iat }
        const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")
        const key = { key: holder.privateKey, dsaEncoding: "ieee-p1363" } as const
        return `${signed}.${sign("sha256", Buffer.from(signed), key).toString("base64url")}`
      }
      const send = (authorization: string, dpop?: string) =>
        Effect.map(
          HttpClient.execute(
            HttpClientRequest.post("/mcp").pipe(
              HttpClientRequest.setHeaders({ authorization, ...(dpop === undefined ? {} : { dpop }) })
            )
          ),
          ({ headers, status }) => [status, headers["www-authenticate"] ?? ""] as const
        )
      yield* Effect.gen(function*() {
        const good = proof(resource)
        assert.strictEqual((yield* send(`DPoP ${bound}`, good))[0], 200)
        const [status, header] = yield* send(`DPoP ${bound}`, good)
        assert.strictEqual(status, 401)
        assert.match(header, /^DPoP error="invalid_dpop_proof", .*algs=".*resource_metadata="https:\/\/mcp\.example/)
        assert.strictEqual((yield* send(`DPoP ${bound}`, proof("https://other.example/mcp")))[0], 401)
        assert.strictEqual((yield* send(`Bearer ${bound}`))[0], 401)
        assert.strictEqual((yield* send(`DPoP ${free}`, proof(resource)))[0], 401)
        assert.strictEqual((yield* send(`Bearer ${free}`))[0], 200)
      }).pipe(Effect.provide(serve()))
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* send(`Bearer ${free}`))[0], 401)
        assert.strictEqual((yield* send(`DPoP ${bound}`, proof(resource)))[0], 200)
        const path = "/.well-known/oauth-protected-resource/mcp"
        const described = yield* Effect.flatMap(HttpClient.get(path), ({ json }) => json)
        assert.deepInclude(described, { dpop_bound_access_tokens_required: true })
      }).pipe(Effect.provide(serve(true)))
    }).pipe(Effect.provide(JwtCodec.layer)))
})
