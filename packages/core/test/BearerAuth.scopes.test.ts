/** Every place where a scope can be required, and every way to put APIs together: nothing that was required is lost. */
import { BearerAuth, JwtCodec } from "@effect-authn/core"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import { HttpRouter, HttpServerRequest } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSecurity
} from "effect/http-api"
import * as jose from "jose"

const keys = jose.generateKeyPair("ES256")
const { RequiredScope } = BearerAuth

const endpoint = HttpApiEndpoint.get("read", "/read", { success: Schema.Json })
const group = HttpApiGroup.make("notes").add(endpoint)
const top = HttpApiGroup.make("notes", { topLevel: true }).add(endpoint)
const some = Context.make(RequiredScope, "b")

type Api = HttpApi.HttpApi<string, HttpApiGroup.HttpApiGroup<"notes", typeof endpoint, boolean>>

interface Options {
  readonly key: CryptoKey
  readonly algorithms: ReadonlyArray<"ES256">
  readonly realm: string
  readonly audience: string
}

/** What the endpoint "read" of the group "notes" requires, by its challenge; and whether that is enough, and all of it needed. */
const requiredBy = Effect.fnUntraced(function*(
  api: HttpApi.Constraint,
  path = "/read",
  layer: (options: Options) => Layer.Layer<never, never, JwtCodec.JwtCodec> = BearerAuth.layer
) {
  const { privateKey, publicKey } = yield* Effect.promise(() => keys)
  const codec = yield* JwtCodec.JwtCodec
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each has this group, under some name and prefix
  const served = api as Api
  const options: Options = { key: publicKey, algorithms: ["ES256"], realm: "notes", audience: "notes" }
  const routes = HttpApiBuilder.layer(served).pipe(
    Layer.provide(
      HttpApiBuilder.group(served, "notes", (handlers) => handlers.handle("read", () => Effect.succeed(1)))
    ),
    Layer.provide(layer(options)),
    Layer.provide([JwtCodec.layer, NodeHttpServer.layerHttpServices])
  )
  const { dispose, handler } = HttpRouter.toWebHandler(routes, {
    disableLogger: true
  })
  yield* Effect.addFinalizer(() => Effect.promise(dispose))
  const ask = Effect.fnUntraced(function*(scope: string) {
    const token = Redacted.value(
      yield* codec.sign({ aud: "notes", exp: 4_000_000_000, scope }, privateKey)
    )
    const request = new Request(`http://localhost${path}`, { headers: { authorization: `Bearer ${token}` } })
    const response = yield* Effect.promise(() => handler(request, Context.empty() as never))
    return [response.status, /scope="([^"]*)"/.exec(response.headers.get("www-authenticate") ?? "")?.[1] ?? ""] as const
  })
  const [, scope] = yield* ask("")
  const words = scope.split(" ").filter((word) => word !== "")
  assert.deepStrictEqual(yield* ask(scope), [200, ""])
  for (const missing of words) {
    assert.deepStrictEqual(yield* ask(words.filter((word) => word !== missing).join(" ")), [403, scope])
  }
  return words.sort().join(" ")
})

class Who extends Context.Service<Who, string>()("@effect-authn/core/test/BearerAuth.scopes.test/Who") {}

const security = { bearer: HttpApiSecurity.annotate(BearerAuth.security.bearer, RequiredScope, "a") }

class Own extends HttpApiMiddleware.Service<Own, { provides: Who }>()("test/Own", {
  security,
  error: BearerAuth.errors
}) {}

const api = HttpApi.make("api")
const inner = HttpApi.make("inner")
const protect = BearerAuth.BearerAuth

class Notes extends HttpApiGroup.make("notes").add(endpoint).annotate(RequiredScope, "b") {}

class Extended extends api.add(group).annotate(RequiredScope, "a").middleware(protect) {}

const cases: ReadonlyArray<readonly [name: string, api: HttpApi.Constraint, scope: string, path?: string]> = [
  ["nowhere", api.add(group).middleware(protect), ""],
  ["on the API", api.add(group).middleware(protect).annotate(RequiredScope, "a"), "a"],
  ["on the API, before its groups", api.annotate(RequiredScope, "a b").add(group).middleware(protect), "a b"],
  [
    "on the API, before middleware and prefix",
    api.add(group).annotate(RequiredScope, "a").middleware(protect).prefix("/v1"),
    "a",
    "/v1/read"
  ],
  [
    "on the API, twice",
    api.annotate(RequiredScope, "a").add(group).annotate(RequiredScope, "b").middleware(protect),
    "a b"
  ],
  [
    "on the API, taken back",
    api.annotate(RequiredScope, "a").annotate(RequiredScope, "").add(group).middleware(protect),
    "a"
  ],
  [
    "on the API, as a context",
    api.annotate(RequiredScope, "a").add(group).annotateMerge(some).middleware(protect),
    "a b"
  ],
  ["on a class of an API", Extended, "a"],
  ["on a class of a group", api.add(Notes).middleware(protect).annotate(RequiredScope, "a"), "a b"],
  ["on the API, for a group at top level", api.add(top).middleware(protect).annotate(RequiredScope, "a"), "a"],
  [
    "on API, group and endpoint",
    api.add(HttpApiGroup.make("notes").add(endpoint.annotate(RequiredScope, "c")).annotate(RequiredScope, "b a"))
      .annotate(RequiredScope, "a").middleware(protect),
    "a b c"
  ],
  ["on the group, twice", api.add(group.annotate(RequiredScope, "a").annotateMerge(some)).middleware(protect), "a b"],
  [
    "on the endpoint, twice and taken back",
    api.add(
      HttpApiGroup.make("notes").add(
        endpoint.annotate(RequiredScope, "a").annotateMerge(some).annotate(RequiredScope, "")
      )
    )
      .middleware(protect),
    "a b"
  ],
  [
    "on an endpoint, and on all of its group's",
    api.add(
      HttpApiGroup.make("notes").add(endpoint.annotate(RequiredScope, "a")).annotateEndpoints(RequiredScope, "c")
        .annotateEndpointsMerge(some).prefix("/g")
    ).middleware(protect),
    "a b c",
    "/g/read"
  ],
  ["on an API that is added", api.addHttpApi(inner.add(group).annotate(RequiredScope, "a")).middleware(protect), "a"],
  [
    "on an API that is added, and on its group",
    api.addHttpApi(inner.add(group.annotate(RequiredScope, "b")).annotate(RequiredScope, "a")).middleware(protect),
    "a b"
  ],
  [
    "on an API that is added to one that requires others",
    api.annotate(RequiredScope, "c").addHttpApi(
      HttpApi.make("middle").addHttpApi(inner.add(group).annotate(RequiredScope, "a")).annotate(RequiredScope, "b")
    ).prefix("/v1").middleware(protect),
    "a b c",
    "/v1/read"
  ],
  [
    "on an API that came to require it after it was added",
    api.addHttpApi(inner.add(group.middleware(protect)).annotate(RequiredScope, "a")).annotate(RequiredScope, "b"),
    "a b"
  ]
]

describe("RequiredScope", () => {
  for (const [name, api, scope, path] of cases) {
    it.effect(`stands ${name}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* requiredBy(api, path), scope)
      }).pipe(Effect.provide(JwtCodec.layer)))
  }

  it.effect("stands on the scheme of a middleware", () =>
    Effect.gen(function*() {
      const owned = api.add(group).middleware(Own).annotate(RequiredScope, "b")
      const layer = (options: Options) =>
        BearerAuth.layerFor(Own, Who, { ...options, identify: () => Effect.succeed("somebody") })
      assert.strictEqual(yield* requiredBy(owned, "/read", layer), "a b")
    }).pipe(Effect.provide(JwtCodec.layer)))

  it.effect("is not trusted to be all there where another copy of Effect made the API", () =>
    Effect.gen(function*() {
      const { publicKey } = yield* Effect.promise(() => keys)
      const auth = yield* BearerAuth.BearerAuth.pipe(
        Effect.provide(BearerAuth.layer({ key: publicKey, algorithms: ["ES256"], realm: "notes", audience: "notes" }))
      )
      const request: Context.Context<HttpRouter.Provided> = Context.make(
        HttpServerRequest.HttpServerRequest,
        {} as never
      ) as never
      const strange = Object.assign(Object.create(null), group)
      const exit = yield* auth.bearer(Effect.die("it must not run"), {
        credential: Redacted.make(""),
        endpoint: endpoint as never,
        group: strange
      }).pipe(Effect.exit, Effect.provideContext(request))
      assert.include(String(exit), "another copy of effect")
    }).pipe(Effect.provide(JwtCodec.layer)))

  it("of one API does not reach the groups of another", () => {
    const others = HttpApi.make("others").add(HttpApiGroup.make("others")).annotate(RequiredScope, "a")
    const both = api.add(group).addHttpApi(others)
    assert.strictEqual(Context.get(both.groups.notes.annotations, RequiredScope), "")
    assert.strictEqual(Context.get(both.groups.others.annotations, RequiredScope), "a")
  })

  it("leaves the API that it is put on, and other annotations, as they are", () => {
    const Other = Context.Reference<string>("other", { defaultValue: () => "" })
    const before = api.add(group).annotate(Other, "kept")
    const after = before.annotate(RequiredScope, "a")
    assert.strictEqual(Context.get(before.groups.notes.annotations, RequiredScope), "")
    assert.strictEqual(Context.get(after.groups.notes.annotations, RequiredScope), "a")
    assert.strictEqual(Context.get(after.annotations, Other), "kept")
    assert.strictEqual(Context.get(after.annotate(Other, "new").annotations, Other), "new")
  })
})
