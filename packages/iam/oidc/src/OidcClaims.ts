/**
 * The standard claims about a person (OpenID Connect Core 1.0, section 5.1), as core's `User`.
 *
 * @since 0.1.0
 */
import * as User from "@effect-authn/core/session/User"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

const decodeProfile = Schema.decodeUnknownOption(Schema.Record(Schema.String, Schema.Json))

/**
 * Reads claims. `handle` is `preferred_username`, else `nickname`; `roles` are those of the claims `roles` and `groups`.
 * A `sub` that is a whole number is taken as its digits; `None` without a `sub`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toUser = (claims: unknown): Option.Option<User.User> =>
  Option.flatMap(decodeProfile(claims), (profile) => {
    const text = (name: string): Option.Option<string> =>
      Option.filter(Option.some(profile[name]), (value): value is string => typeof value === "string" && value !== "")
    const list = (name: string): ReadonlyArray<string> => {
      const value = profile[name]
      return Array.isArray(value) ? value.filter(Predicate.isString) : []
    }
    // Some providers put their database's own number there.
    const sub = profile["sub"]
    const id = typeof sub === "number" && Number.isSafeInteger(sub) ? Option.some(String(sub)) : text("sub")
    return Option.map(id, (id) =>
      User.User.make({
        id,
        handle: Option.orElse(text("preferred_username"), () => text("nickname")),
        displayName: text("name"),
        firstName: text("given_name"),
        lastName: text("family_name"),
        email: text("email"),
        avatarUrl: text("picture"),
        roles: [...new Set([...list("roles"), ...list("groups")])],
        profile: Redacted.make(profile, { label: "profile" })
      }))
  })

/**
 * Whether a user is known by more than the provider's own identifier.
 *
 * @category guards
 * @since 0.1.0
 */
export const hasName = ({ displayName, email, handle }: User.User): boolean =>
  [displayName, email, handle].some(Option.isSome)
