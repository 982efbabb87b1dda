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
 * `displayName` is `name`, else `given_name` and `family_name`. `None` without a `sub`.
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
    const name = [...Option.toArray(text("given_name")), ...Option.toArray(text("family_name"))].join(" ")
    return Option.map(Option.fromUndefinedOr(subjectOf(profile)), (id) =>
      User.User.make({
        id,
        handle: Option.orElse(text("preferred_username"), () => text("nickname")),
        displayName: Option.orElse(text("name"), () => name === "" ? Option.none() : Option.some(name)),
        firstName: text("given_name"),
        lastName: text("family_name"),
        email: text("email"),
        avatarUrl: text("picture"),
        roles: [...new Set([...list("roles"), ...list("groups")])],
        profile: Redacted.make(profile, { label: "profile" })
      }))
  })

/**
 * Whom claims are about: their `sub`. Some providers put their database's own number there: a whole number is taken as its
 * digits.
 *
 * @category accessors
 * @since 0.1.0
 */
export const subjectOf = (claims: { readonly [name: string]: unknown }): string | undefined => {
  const { sub } = claims
  if (typeof sub === "number" && Number.isSafeInteger(sub)) return String(sub)
  return typeof sub === "string" && sub !== "" ? sub : undefined
}

/**
 * Whether a user is known by more than the provider's own identifier.
 *
 * @category guards
 * @since 0.1.0
 */
export const hasName = ({ displayName, email, handle }: User.User): boolean =>
  [displayName, email, handle].some(Option.isSome)

/**
 * Of what several sources say of one person, what names them; else the first.
 *
 * @internal
 */
export const best = (users: ReadonlyArray<User.User>): Option.Option<User.User> => {
  const [first] = users
  return Option.fromUndefinedOr(users.find((user) => hasName(user) && user.id === first?.id) ?? first)
}
