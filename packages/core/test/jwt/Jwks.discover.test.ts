import { BearerAuth, Jwks, JwtCodec } from "@effect-authn/core"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Config, ConfigProvider, Deferred, Duration, Effect, Fiber, Layer, type Scope } from "effect"
import { FetchHttpClient, HttpClient, HttpClientResponse } from "effect/http"
import { generateKeyPairSync } from "node:crypto"
import { makeEventLoop } from "../eventLoop.ts"

const jwk = { ...generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "jwk" }), kid: "k" }
const keys = BareServer.json(200, { keys: [jwk] })
const header = { alg: "ES256", kid: "k" }

/** "found", or why the keys of the issuer with this path were not, and at which paths it was asked. */
const asked = Effect.fnUntraced(function*(
  script: (path: string, origin: string, index: number) => BareServer.Reply,
  path = ""
) {
  const server: BareServer.Server = yield* BareServer.serve((seen, index) => script(seen.path, server.origin, index))
  const jwks = yield* Jwks.discover(`${server.origin}${path}`)
  assert.deepStrictEqual(server.seen, [])
  const found = yield* jwks.find(header).pipe(
    Effect.match({ onFailure: ({ message }) => message.replaceAll(server.origin, ""), onSuccess: () => "found" })
  )
  return { found, paths: server.seen.map(({ path }) => path), jwks }
})

const openid = "/.well-known/openid-configuration"
const oauth = "/.well-known/oauth-authorization-server"

const live = <A, E>(name: string, body: Effect.Effect<A, E, HttpClient.HttpClient | Scope.Scope>) =>
  it.live(name, () => Effect.provide(body, FetchHttpClient.layer))

describe("Jwks.discover", () => {
  live(
    "asks the issuer where its keys are, in the place of OpenID Connect, and each time that it fetches them",
    Effect.gen(function*() {
      const { found, jwks, paths } = yield* asked((path, origin, index) =>
        path === openid ? BareServer.json(200, { issuer: origin, jwks_uri: `${origin}/keys/${index}` }) : keys
      )
      assert.deepStrictEqual([found, paths], ["found", [openid, "/keys/0"]])
      assert.strictEqual((yield* jwks.find(header)).length, 1)
    })
  )

  for (
    const [what, notHere] of [
      ["404", BareServer.json(404, {})],
      ["401", BareServer.json(401, {})],
      ["501", BareServer.json(501, {})],
      ["a page", BareServer.html(200)],
      ["other JSON", BareServer.json(200, { ok: true })],
      ["no body", BareServer.answer(200, "")],
      ["a redirect to another origin", BareServer.json(302, {}, { location: "https://elsewhere.example/metadata" })]
    ] as const
  ) {
    live(
      `goes on to the place of RFC 8414 after ${what}`,
      Effect.gen(function*() {
        const { found, paths } = yield* asked((path, origin) =>
          path.startsWith("/.well-known/oauth")
            ? BareServer.json(200, { issuer: `${origin}/a/`, jwks_uri: `${origin}/keys` })
            : path === "/keys"
            ? keys
            : notHere, "/a/")
        assert.deepStrictEqual([found, paths], ["found", [`/a${openid}`, `${oauth}/a`, "/keys"]])
      })
    )
  }

  for (
    const [what, outage] of [
      ["503", BareServer.json(503, {})],
      ["429", BareServer.json(429, {})],
      ["408", BareServer.json(408, {})],
      ["a cut connection", BareServer.drop]
    ] as const
  ) {
    live(
      `ends at ${what}: another place may not speak for the issuer`,
      Effect.gen(function*() {
        const { found, paths } = yield* asked(() => outage)
        assert.include(found, "is not available")
        assert.deepStrictEqual([...new Set(paths)], [openid])
      })
    )
  }

  live(
    "follows a redirect within the origin to the metadata, a few times, and none to the keys",
    Effect.gen(function*() {
      const moved = yield* asked((path, origin) =>
        path === openid
          ? BareServer.json(301, {}, { location: "/metadata" })
          : path === "/metadata"
          ? BareServer.json(200, { issuer: origin, jwks_uri: `${origin}/keys` })
          : BareServer.json(301, {}, { location: "/other-keys" })
      )
      assert.strictEqual(moved.found, "the key set at /keys is not available: it answers with status 301")
      assert.deepStrictEqual(moved.paths, [openid, "/metadata", "/keys"])
      const round = yield* asked((path) => BareServer.json(302, {}, { location: path }))
      assert.include(round.found, "there is no metadata of an issuer")
      assert.strictEqual(round.paths.length, 12)
    })
  )

  live(
    "takes the metadata of its issuer only, and keys of https only",
    Effect.gen(function*() {
      const metadata = (members: (origin: string) => object) =>
        Effect.map(
          asked((path, origin) => path === openid ? BareServer.json(200, members(origin)) : keys),
          ({ found, paths }) => `${found} ${paths.length}`
        )
      const base = (origin: string) => ({ issuer: origin, jwks_uri: `${origin}/keys` })
      assert.match(yield* metadata((origin) => ({ ...base(origin), issuer: `${origin}/` })), /another issuer.* 1$/)
      assert.match(
        yield* metadata((origin) => ({ ...base(origin), jwks_uri: "http://idp.example/keys" })),
        /not https 1$/
      )
      assert.match(yield* metadata((origin) => ({ ...base(origin), jwks_uri: 7 })), /names no key set 1$/)
      assert.match(yield* metadata((origin) => ({ issuer: origin })), /names no key set 1$/)
      assert.strictEqual(yield* metadata(base), "found 2")
    })
  )

  it.effect("of an issuer of https takes no key set of plain http, not even on this machine", () =>
    Effect.gen(function*() {
      const issuer = "https://idp.example"
      const client = HttpClient.make((request) =>
        Effect.succeed(
          HttpClientResponse.fromWeb(request, Response.json({ issuer, jwks_uri: "http://127.0.0.1/keys" }))
        )
      )
      const jwks = yield* Effect.provideService(Jwks.discover(issuer), HttpClient.HttpClient, client)
      assert.include((yield* Effect.flip(jwks.find(header))).message, "not https")
    }))

  it.effect.each(["http://idp.example", "idp.example", ""])(
    "refuses the issuer \"%s\"",
    (issuer) =>
      Effect.gen(function*() {
        assert.include((yield* Effect.flip(Jwks.discover(issuer))).message, "https")
      }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})

describe("a program that was stopped while its keys came", () => {
  it.effect("looks at them before it says that none came in time", () =>
    Effect.gen(function*() {
      const loop = makeEventLoop()
      const arrived = yield* Deferred.make<void>()
      const client = HttpClient.make((request) =>
        Effect.as(Deferred.await(arrived), HttpClientResponse.fromWeb(request, Response.json({ keys: [jwk] })))
      )
      const jwks = yield* Effect.provideService(Jwks.remote("https://idp.example/keys"), HttpClient.HttpClient, client)
      const finding = yield* jwks.find(header).pipe(
        Effect.provideService(Clock.Clock, loop.clock),
        Effect.forkChild({ startImmediately: true })
      )
      yield* loop.turn
      loop.stopFor(Duration.seconds(40))
      // Timers come before what arrived from the network.
      yield* loop.turn
      yield* Deferred.succeed(arrived, undefined)
      for (let turns = 0; turns < 20; turns++) yield* loop.turn
      loop.stopFor(Duration.seconds(1))
      yield* loop.turn
      assert.strictEqual((yield* Fiber.join(finding)).length, 1)
    }))
})

describe("BearerAuth.layerConfig", () => {
  const options = {
    realm: Config.succeed("notes"),
    issuer: Config.NonEmptyString("AUTH_ISSUER"),
    audience: Config.NonEmptyString("AUTH_AUDIENCE")
  }
  const built = (env: Record<string, string>) =>
    Effect.scoped(Layer.build(BearerAuth.layerConfig(options))).pipe(
      Effect.provide(Layer.mergeAll(JwtCodec.layer, FetchHttpClient.layer)),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env })),
      Effect.match({ onFailure: ({ message }) => message, onSuccess: () => "built" })
    )

  it.effect("needs an issuer and an audience, and fetches nothing before the first token", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* built({ AUTH_ISSUER: "https://idp.example", AUTH_AUDIENCE: "notes" }), "built")
      assert.include(yield* built({ AUTH_ISSUER: "https://idp.example" }), "AUTH_AUDIENCE")
      assert.include(yield* built({ AUTH_ISSUER: "https://idp.example", AUTH_AUDIENCE: "" }), "AUTH_AUDIENCE")
      assert.include(yield* built({ AUTH_ISSUER: "http://idp.example", AUTH_AUDIENCE: "notes" }), "https")
    }))
})
