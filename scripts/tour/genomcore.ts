// The second half: a session that is scoped to a project, and that travels from one client to another.
import { AuthManager, AuthStrategy, Jwks, JwtCodec, TokenStorage } from "@effect-authn/core"
import { GenomcoreIam } from "@effect-authn/iam-genomcore"
import { NodeAuth } from "@effect-authn/platform-node"
import { Effect, Redacted, Schema } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import * as Simulator from "./simulator.ts"
import * as Stage from "./stage.ts"

const { claim, say, step } = Stage

const dialect = (issuer: string) => GenomcoreIam.layer({ environments: { prod: issuer } })

const projectId = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const genomcore = yield* GenomcoreIam.GenomcoreIam
  return yield* genomcore.projectId((yield* auth.token).accessToken)
})

const travel = Effect.fn(function*(issuer: string) {
  const auth = yield* AuthManager.AuthManager
  const refreshes = Simulator.count(issuer, "refresh")

  yield* step("Another dialect: sign in to an organization")
  yield* auth.login(AuthStrategy.password({
    handle: "ada",
    password: Redacted.make("correct-horse-battery"),
    organization: "acme"
  }))
  yield* claim("the token is for the default project", (yield* projectId) === 1, "project id 1, apollo")

  yield* step("Re-scope the session to another project")
  yield* auth.refresh({ project: "borealis" })
  yield* claim("the token is for that project", (yield* projectId) === 2, "project id 2, borealis")
  yield* claim("one refresh was sent", (yield* refreshes) === 1, "ledger")

  yield* step("Export the session, and import it in another client")
  const document = yield* auth.export
  yield* say(Stage.dim(`the document has ${Object.keys(document).join(", ")}`))
  yield* auth.clearStoredToken
  const arrived = yield* Effect.gen(function*() {
    const other = yield* AuthManager.AuthManager
    yield* other.import(document)
    const bearer = yield* other.bearer
    const seen = yield* HttpClient.execute(
      HttpClientRequest.setHeader(HttpClientRequest.get(`${issuer}/whoami`), "authorization", Redacted.value(bearer))
    )
    yield* claim("the other client's token is accepted", seen.status === 200, `${seen.status}`)
    return yield* projectId
  }).pipe(Effect.provide(NodeAuth.layer(dialect(issuer), { storage: TokenStorage.layerMemory })))
  yield* claim("and is still for that project", arrived === 2, `project id ${arrived}`)

  yield* step("Verify its token, as an API would")
  const { token } = yield* Schema.decodeUnknownEffect(Schema.Struct({ token: Schema.String }))(document)
  const codec = yield* JwtCodec.JwtCodec
  const jwks = yield* Jwks.remote(`${issuer}/.well-known/jwks.json`)
  const verified = yield* codec.verify(Redacted.make(token), { jwks, algorithms: ["RS256"] })
  yield* claim("it is signed with the IAM's published key", verified.header["alg"] === "RS256", "RS256")
})

export const tour = (issuer: string) =>
  travel(issuer).pipe(Effect.provide([NodeAuth.layer(dialect(issuer)), JwtCodec.layer]))
