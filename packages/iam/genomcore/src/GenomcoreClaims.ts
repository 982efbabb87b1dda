/**
 * What a Genomcore-style access token says. Nothing here is verified: good for display and routing, never for an
 * authorisation decision.
 *
 * @since 0.1.0
 */
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import type * as JwtError from "@effect-authn/core/jwt/JwtError"
import * as User from "@effect-authn/core/session/User"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/**
 * Why a token has no project id: there is no token, no claim, or the claim is not an integer.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProjectIdError
  extends Schema.TaggedError<ProjectIdError>("@effect-authn/iam-genomcore/GenomcoreClaims/ProjectIdError")(
    "ProjectIdError",
    { reason: Schema.Literals(["MissingToken", "MissingClaim", "InvalidClaim"]), detail: Schema.String }
  )
{
  override get message(): string {
    return this.detail
  }
}

/**
 * The claims that may hold the project id, in the order in which they are tried. A dot leads into a nested object, where
 * no claim has the whole name.
 *
 * @category models
 * @since 0.1.0
 */
export const projectIdClaims: ReadonlyArray<string> = ["projectId", "project_id", "project.id", "project"]

type Claims = JwtCodec.Decoded["claims"]

const claim = (claims: Claims, name: string): unknown =>
  Object.hasOwn(claims, name) ? claims[name] : name.split(".").reduce<unknown>(
    (at, key) => Predicate.isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined,
    claims
  )

/**
 * The integer project id of a token, from the first of `names` that is present; text in decimal digits is read as a
 * number. It need not resemble the name by which the project was asked for.
 *
 * @category accessors
 * @since 0.1.0
 */
export const projectId = Effect.fnUntraced(function*(
  token: Redacted.Redacted,
  names: ReadonlyArray<string> = projectIdClaims
): Effect.fn.Return<number, JwtError.JwtError | ProjectIdError> {
  const { claims } = yield* Effect.fromResult(JwtCodec.decodeUnverified(Redacted.value(token)))
  for (const name of names) {
    const value = claim(claims, name)
    if (Predicate.isNullish(value)) continue
    const id = typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : value
    if (Predicate.isNumber(id) && Number.isSafeInteger(id)) return id
    return yield* new ProjectIdError({
      reason: "InvalidClaim",
      detail: `the token's claim "${name}" is not an integer that names a project`
    })
  }
  return yield* new ProjectIdError({
    reason: "MissingClaim",
    detail: `the token names no project: it has none of the claims ${names.map((name) => `"${name}"`).join(", ")}`
  })
})

const Person = Schema.Record(Schema.String, Schema.Json)
const decodePerson = Schema.decodeUnknownOption(Person)

/**
 * Reads a person from a login answer's `user` or from claims: `id` (else `sub`, `username`, `email`), `username`, `name`,
 * `email`; numbers count as text. `None` where nothing names the person.
 *
 * @category constructors
 * @since 0.1.0
 */
export const userFrom = (value: unknown): Option.Option<User.User> =>
  Option.flatMap(decodePerson(value), (profile) => {
    const text = (name: string): Option.Option<string> =>
      Option.filter(
        Option.map(Option.fromNullishOr(profile[name]), (found) => typeof found === "number" ? `${found}` : found),
        (found): found is string => typeof found === "string" && found !== ""
      )
    return Option.map(
      Option.firstSomeOf(["id", "sub", "username", "email"].map(text)),
      (id) =>
        User.User.make({
          id,
          handle: text("username"),
          displayName: text("name"),
          email: text("email"),
          profile: Redacted.make(profile, { label: "profile" })
        })
    )
  })

/**
 * Who a token says that it belongs to: its claim `user`, else its own claims.
 *
 * @category accessors
 * @since 0.1.0
 */
export const userOf = (token: Redacted.Redacted): Option.Option<User.User> =>
  Option.flatMap(
    Result.getSuccess(JwtCodec.decodeUnverified(Redacted.value(token))),
    ({ claims }) => Option.orElse(userFrom(claims["user"]), () => userFrom(claims))
  )
