/**
 * Who a session belongs to.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A person or a program, in the terms that all dialects share. `id` is the issuer's stable name for it (`sub` in OpenID
 * Connect); everything else may be absent. `profile` is the issuer's own answer, whole and redacted: it can hold
 * anything, a dialect reads it with a schema of its own.
 *
 * @category models
 * @since 0.1.0
 */
export class User extends Schema.Class<User>("@effect-authn/core/session/User")({
  id: Schema.NonEmptyString,
  handle: Schema.OptionFromOptionalKey(Schema.NonEmptyString),
  displayName: Schema.OptionFromOptionalKey(Schema.NonEmptyString),
  firstName: Schema.OptionFromOptionalKey(Schema.NonEmptyString),
  lastName: Schema.OptionFromOptionalKey(Schema.NonEmptyString),
  email: Schema.OptionFromOptionalKey(Schema.NonEmptyString),
  avatarUrl: Schema.OptionFromOptionalKey(Schema.NonEmptyString),
  roles: Schema.Array(Schema.String),
  profile: Schema.RedactedFromValue(Schema.Record(Schema.String, Schema.Json))
}) {}
