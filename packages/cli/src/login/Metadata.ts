/**
 * The endpoints of a provider that publishes none, from a file in the form of RFC 8414.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Account from "../Account.ts"
import { usage } from "../Failure.ts"
import * as Input from "../Input.ts"

/**
 * What a file says, and where it is.
 */
export interface LoginMetadata {
  readonly path: string
  readonly issuer: string
  readonly endpoints: typeof Account.Metadata.Type
}

const decode = Schema.decodeUnknownEffect(
  Schema.fromJsonString(Schema.Struct({ issuer: Schema.NonEmptyString, ...Account.Metadata.fields }))
)

/**
 * Reads a file. What it says is not checked yet.
 */
export const read = Effect.fnUntraced(function*(path: string) {
  const { issuer, ...endpoints } = yield* Effect.mapError(
    Effect.flatMap(Input.file(path), decode),
    (error) =>
      error._tag === "Failure"
        ? error
        : usage(
          `${path} is not the metadata of a provider: JSON with an issuer and a token_endpoint, and the other ` +
            `endpoints under the names of RFC 8414`
        )
  )
  return { path, issuer, endpoints } satisfies LoginMetadata
})

/**
 * Refuses metadata of another issuer, to the letter, and endpoints that are not https (http only on this machine, for an
 * issuer that is there, too).
 */
export const check = Effect.fnUntraced(function*(metadata: LoginMetadata, issuer: string) {
  if (metadata.issuer !== issuer) {
    return yield* usage(
      `${metadata.path} is of "${metadata.issuer}", and the issuer is "${issuer}": they have to be equal to the letter`
    )
  }
  const { given } = yield* Effect.promise(() => import("@effect-authn/iam-oidc/OidcMetadata"))
  const call = { issuer, method: "configure", secrets: [], timeLimit: Duration.seconds(1) }
  yield* Effect.mapError(
    given(issuer, metadata.endpoints, call),
    ({ reason }) => usage(`${metadata.path}: ${reason.message}`)
  )
  return metadata
})
