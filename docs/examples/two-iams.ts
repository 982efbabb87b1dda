// One program that is signed in to two IAMs. Each client carries the session of its own manager, and no other.
import { AuthHttpClient, AuthManager } from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeAuth } from "@effect-authn/platform-node"
import { Config, Context, Effect, Layer, Schema } from "effect"
import { HttpApi, HttpApiClient, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"

/** The session at home, where the notes are. */
export class Home extends Context.Service<Home, AuthManager.AuthManager["Service"]>()(
  "effect-authn/docs/examples/two-iams/Home"
) {}

/** The session at work, where they go. */
export class Work extends Context.Service<Work, AuthManager.AuthManager["Service"]>()(
  "effect-authn/docs/examples/two-iams/Work"
) {}

export const Notes = HttpApi.make("notes").add(
  HttpApiGroup.make("notes").add(
    HttpApiEndpoint.get("list", "/notes", { success: Schema.Array(Schema.String) }),
    HttpApiEndpoint.post("add", "/notes", { payload: Schema.Struct({ text: Schema.String }), success: Schema.String })
  )
)

/** A typed client of an API, with the session of a manager. */
const notesAt = Effect.fnUntraced(function*(baseUrl: string, manager: AuthManager.AuthManager["Service"]) {
  const httpClient = yield* AuthHttpClient.makeWith({ manager, baseUrl })
  return yield* HttpApiClient.makeWith(Notes, { httpClient, baseUrl })
})

/** Copies the notes from home to work. */
export const copy = Effect.gen(function*() {
  const home = yield* notesAt(yield* Config.String("HOME_API"), yield* Home)
  const work = yield* notesAt(yield* Config.String("WORK_API"), yield* Work)
  const notes = yield* home.notes.list()
  return yield* Effect.forEach(notes, (text) => work.notes.add({ payload: { text } }))
})

const home = Layer.effect(Home, AuthManager.AuthManager).pipe(Layer.provide(NodeAuth.layer(OidcIam.layerConfig())))
const work = Layer.effect(Work, AuthManager.AuthManager).pipe(Layer.provide(NodeAuth.layer(DatalayerIam.layerConfig())))

/** The whole program, for `NodeRuntime.runMain`. */
export const program = copy.pipe(Effect.provide([home, work, NodeAuth.layerHttpClient]))
