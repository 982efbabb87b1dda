/**
 * Where the keys are to which sessions are bound (RFC 9449).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { ProofKey, type Session } from "../session/Session.ts"
import type { SessionKey } from "../session/SessionKey.ts"

/**
 * A key to which a session is bound cannot be kept, or cannot be had. `detail` says why, and what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProofKeyError extends Schema.TaggedError<ProofKeyError>("@effect-authn/core/iam/ProofKeys/ProofKeyError")(
  "ProofKeyError",
  { detail: Schema.String }
) {
  override get message(): string {
    return `the key to which the session is bound: ${this.detail}`
  }
}

/** A key that is kept elsewhere than in the document of its session. */
type Held = Extract<ProofKey, { readonly _tag: "Held" }>

/**
 * Keeps and finds the keys of sessions. Unless a program provides another one, a key is a part of the session's document,
 * and as safe as that: a storage in plain files shows it to whoever reads the file. `KeychainProofKeys` of
 * `@effect-authn/storage-keyring` keeps it in the keychain: then the document alone is worth nothing.
 *
 * @category references
 * @since 0.1.0
 */
export const ProofKeys = Context.Reference<{
  /** Keeps the key of a session that was just obtained, and says what its document holds of it. */
  readonly keep: (
    key: SessionKey,
    jwk: Redacted.Redacted<Schema.JsonObject>
  ) => Effect.Effect<ProofKey, ProofKeyError>
  /** A key that is kept elsewhere than in its session: a private JWK, or a pair that never leaves where it is. */
  readonly open: (key: Held) => Effect.Effect<Redacted.Redacted<Schema.JsonObject> | CryptoKeyPair, ProofKeyError>
  /** Forgets a key that is of no more use, where keys are kept apart from sessions. Forgetting what is absent succeeds. */
  readonly drop?: (key: Held) => Effect.Effect<void, ProofKeyError>
}>("@effect-authn/core/iam/ProofKeys", {
  defaultValue: () => ({
    keep: (_key, jwk) => Effect.succeed(ProofKey.cases.Enclosed.make({ jwk })),
    open: ({ keeper }) =>
      Effect.fail(
        new ProofKeyError({
          detail: `it is kept by ${keeper}, which this program does not have: give it that, or sign in again`
        })
      )
  })
})

/**
 * Forgets the key of a session that is over, unless it is that of the session in its place. What cannot be forgotten is
 * said in the log.
 *
 * @internal
 */
export const dropper =
  ({ drop }: typeof ProofKeys.Service) => (over: Session | undefined, next?: Session): Effect.Effect<void> => {
    const key = heldBy(over)
    if (key === undefined || drop === undefined) return Effect.void
    const kept = heldBy(next)
    return kept?.name === key.name && kept.keeper === key.keeper
      ? Effect.void
      : Effect.ignore(drop(key), { log: "Warn" })
  }

const heldBy = (session: Session | undefined): Held | undefined =>
  session?.proofKey?._tag === "Held" ? session.proofKey : undefined
