/**
 * Which session.
 *
 * @since 0.1.0
 */
import * as Digest from "effect/crypto/Digest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * Which session: the issuer's exact name, the client, and the account (`default` unless told).
 *
 * @category models
 * @since 0.1.0
 */
export class SessionKey extends Schema.Class<SessionKey>("@effect-authn/core/session/SessionKey")({
  issuer: Schema.NonEmptyString,
  clientId: Schema.NonEmptyString,
  account: Schema.NonEmptyString
}) {
  #id: string | undefined = undefined
  /** The key as one string, for maps and messages. */
  get id(): string {
    return this.#id ??= JSON.stringify([this.issuer, this.clientId, this.account])
  }
  /** The key in the words of a message. */
  get label(): string {
    return `${this.account} at ${this.issuer}`
  }
}

// Many times the sessions that are renewed at once.
const mostDigests = 1024

/**
 * Makes the function that names a key where its text is too long, or may hold what nobody is to read: the SHA-256 of its `id`
 * in hexadecimal. It remembers the last 1024 names, since WebCrypto goes to another thread for each, and one renewal needs
 * the same name several times.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeDigest = (digest: Digest.Digest["Service"]): (key: SessionKey) => Effect.Effect<string> => {
  const known = new Map<string, string>()
  return ({ id }) => {
    const name = known.get(id)
    if (name !== undefined) return Effect.succeed(name)
    return Effect.map(digest.digestHex(Digest.sha256, new TextEncoder().encode(id)), (made) => {
      const [oldest] = known.keys()
      if (oldest !== undefined && known.size >= mostDigests) known.delete(oldest)
      known.set(id, made)
      return made
    })
  }
}
