/**
 * The sessions that other clients of the IAM left on this machine, for a login to offer.
 *
 * @since 0.1.0
 */
import type { IamError } from "@effect-authn/core/iam/IamError"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as UserDirectories from "effect/persistence/UserDirectories"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as DatalayerOptions from "./DatalayerOptions.ts"

/**
 * A token that was found, and where, in words for people. `isOfIssuer` is false where the place does not tell which IAM the
 * token is for.
 *
 * @category models
 * @since 0.1.0
 */
export interface ForeignSession {
  readonly place: string
  readonly token: Redacted.Redacted
  readonly isOfIssuer: boolean
}

const decodeFile = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ access_token: Schema.RedactedFromValue(Schema.String) }))
)

/**
 * Looks where the Python and the JavaScript client keep a token, and reads only: in the keychain, under the address of the
 * IAM and `access_token`, and in `~/.datalayer/auth.json`, which does not say for which IAM. Nothing is sent, checked or
 * taken over: offer what was found to the person, and sign in with `AuthStrategy.token`, which asks the IAM about it.
 *
 * `keychain` reads an entry, as `Keychain.get` of `storage-keyring` does. It finds what the Python client wrote on Linux
 * and macOS, and what the JavaScript client wrote on macOS; elsewhere those two name their entries in ways of their own.
 * What cannot be read counts as not there.
 *
 * @category combinators
 * @since 0.1.0
 */
export const find = Effect.fnUntraced(function*(options: {
  readonly issuer: string
  readonly keychain?: (
    service: string,
    account: string
  ) => Effect.Effect<Option.Option<Redacted.Redacted>, { readonly message: string }>
}): Effect.fn.Return<ReadonlyArray<ForeignSession>, IamError, FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  const issuer = yield* Effect.fromResult(DatalayerOptions.canonicalIssuer(options.issuer))
  const keychain = options.keychain ?? (() => Effect.succeedNone)

  const inKeychain = (service: string) =>
    Effect.map(
      Effect.orElseSucceed(keychain(service, "access_token"), () => Option.none<Redacted.Redacted>()),
      Option.map((token) => ({ place: `the keychain, entry "access_token" of ${service}`, token, isOfIssuer: true }))
    )

  const inFile = UserDirectories.make().home.pipe(
    Effect.map((home) => `${home.replace(/[\\/]+$/, "")}/.datalayer/auth.json`),
    Effect.flatMap((path) =>
      Effect.map(
        Effect.option(fs.stat(path)).pipe(
          // what is no file, or far too large for one, is none of that client's
          Effect.filterOrFail((info) =>
            Option.isNone(info) ||
            (info.value.type === "File" && ByteSize.isLessThan(info.value.size, ByteSize.mebibytes(1)))
          ),
          Effect.andThen(fs.readFileString(path))
        ),
        (text) =>
          Option.map(decodeFile(text), ({ access_token }) => ({ place: path, token: access_token, isOfIssuer: false }))
      )
    ),
    Effect.orElseSucceed(Option.none)
  )

  // an address was taken as it was typed, but for the path of the API
  const found = yield* Effect.all([inKeychain(issuer), inKeychain(`${issuer}/`), inFile])
  return found.flatMap((place) =>
    Option.match(Option.flatMap(place, usable), { onNone: () => [], onSome: (one) => [one] })
  )
})

const usable = (found: ForeignSession): Option.Option<ForeignSession> =>
  Option.map(TokenSet.accessTokenFrom(Redacted.value(found.token)), (token) => ({ ...found, token }))
