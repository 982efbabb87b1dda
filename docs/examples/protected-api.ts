// An API that takes the bearer tokens of one issuer. AUTH_ISSUER and AUTH_AUDIENCE say which; PORT is where it listens.
import { BearerAuth, Jwks, JwtCodec } from "@effect-authn/core"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schema } from "effect"
import { FetchHttpClient, HttpRouter } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { createServer } from "node:http"

const Api = HttpApi.make("notes").add(
  HttpApiGroup.make("notes").add(
    HttpApiEndpoint.get("list", "/notes", { success: Schema.Array(Schema.String) }),
    HttpApiEndpoint.post("add", "/notes", { success: Schema.String })
      .annotate(BearerAuth.RequiredScope, "notes:write")
  ).middleware(BearerAuth.BearerAuth)
)

const handlers = HttpApiBuilder.group(Api, "notes", (handlers) =>
  handlers.handleAll({
    list: () => Effect.map(BearerAuth.Identity, ({ claims }) => [`a note of ${claims.sub}`]),
    add: () => Effect.map(BearerAuth.Identity, ({ scopes }) => `added with ${scopes.join(" ")}`)
  }))

// The key set is fetched at the first token, and again when a token names a new key.
const auth = Layer.unwrap(Effect.gen(function*() {
  const issuer = yield* Config.NonEmptyString("AUTH_ISSUER")
  return BearerAuth.layer({
    realm: "notes",
    issuer,
    jwks: yield* Jwks.discover(issuer),
    algorithms: ["RS256", "ES256"],
    audience: yield* Config.NonEmptyString("AUTH_AUDIENCE"),
    requiredClaims: ["sub"]
  })
}))

const server = Layer.unwrap(Effect.map(
  Config.Int("PORT").pipe(Config.withDefault(3000)),
  (port) => NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })
))

HttpRouter.serve(HttpApiBuilder.layer(Api).pipe(Layer.provide(handlers), Layer.provide(auth))).pipe(
  Layer.provide([JwtCodec.layer, FetchHttpClient.layer, server]),
  Layer.launch,
  NodeRuntime.runMain
)
