/**
 * Which session.
 *
 * @since 0.1.0
 */
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
