/**
 * Who a session belongs to.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

const text = Schema.OptionFromOptionalKey(Schema.NonEmptyString).pipe(
  Schema.withConstructorDefault(Effect.succeedNone)
)

/**
 * A person or a program, in the terms that all dialects share. `id` is the issuer's stable name for it (`sub` in OpenID
 * Connect); everything else may be absent, and is left out where a dialect does not know it. `profile` is the issuer's own answer, whole and redacted: it can hold
 * anything, a dialect reads it with a schema of its own.
 *
 * @category models
 * @since 0.1.0
 */
export class User extends Schema.Class<User>("@effect-authn/core/session/User")({
  id: Schema.NonEmptyString,
  handle: text,
  displayName: text,
  firstName: text,
  lastName: text,
  email: text,
  avatarUrl: text,
  roles: Schema.Array(Schema.String).pipe(Schema.withConstructorDefault(Effect.succeed([]))),
  profile: Schema.RedactedFromValue(Schema.Record(Schema.String, Schema.Json))
}) {}

/**
 * What people call a user: the handle, else the e-mail address, else the name, and only else the issuer's own `id`.
 *
 * **Example** (Who is signed in)
 *
 * ```ts import.meta.vitest
 * import { User } from "@effect-authn/core"
 * import { Option, Redacted } from "effect"
 *
 * const user = User.User.make({ id: "00u1", email: Option.some("ada@example.com"), profile: Redacted.make({}) })
 * User.label(user) // => "ada@example.com"
 * ```
 *
 * @category accessors
 * @since 0.1.0
 */
export const label = ({ displayName, email, handle, id }: User): string =>
  handle.pipe(Option.orElse(() => email), Option.orElse(() => displayName), Option.getOrElse(() => id))
