/**
 * What an access token is scoped to.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The organization, project, resource (RFC 8707) and scope (RFC 6749, section 3.3) that an access token is asked for. An
 * absent member is the issuer's default.
 *
 * @category models
 * @since 0.1.0
 */
export class Selection extends Schema.Class<Selection>("@effect-authn/core/session/Selection")({
  organization: Schema.optionalKey(Schema.NonEmptyString),
  project: Schema.optionalKey(Schema.NonEmptyString),
  resource: Schema.optionalKey(Schema.NonEmptyString),
  scope: Schema.optionalKey(Schema.NonEmptyString)
}) {}

/**
 * The members of a `Selection` as a caller writes them.
 *
 * @category models
 * @since 0.1.0
 */
export type Input = Partial<typeof Selection.Encoded>

/**
 * The name of a `Selection` inside a session: equal selections have equal names.
 *
 * @category models
 * @since 0.1.0
 */
export type SelectionId = string

/**
 * The issuer's default for everything.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: Selection = Selection.make({})

const members = ["organization", "project", "resource", "scope"] as const

/**
 * Makes a `Selection`. Empty strings count as absent; the words of `scope` are put in order, so that their order makes
 * no difference.
 *
 * **Example** (Selections that are equal)
 *
 * ```ts import.meta.vitest
 * import { Selection } from "@effect-authn/core"
 *
 * const selection = Selection.make({ organization: "acme", project: "", scope: "write read" })
 * Selection.id(selection) // => "organization=acme&scope=read%20write"
 * Selection.id(Selection.none) // => ""
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (input: Input): Selection => {
  const fields: { -readonly [K in keyof Input]: Input[K] } = {}
  for (const member of members) {
    const value = member === "scope" ? input.scope?.split(/\s+/).filter(Boolean).sort().join(" ") : input[member]
    if (value !== undefined && value !== "") fields[member] = value
  }
  return Selection.make(fields)
}

/**
 * The name of a `Selection` inside a session.
 *
 * @category accessors
 * @since 0.1.0
 */
export const id = (self: Selection): SelectionId =>
  members.flatMap((member) => {
    const value = self[member]
    return value === undefined ? [] : [`${member}=${encodeURIComponent(value.toWellFormed())}`]
  }).join("&")

/**
 * Reads `asked` on top of a session's `current` selection: the organization stays unless another is asked for; project,
 * resource and scope are taken from `asked` alone.
 *
 * **Example** (Another project of the same organization)
 *
 * ```ts import.meta.vitest
 * import { Selection } from "@effect-authn/core"
 *
 * const current = Selection.make({ organization: "acme", project: "apollo" })
 * Selection.id(Selection.refine(current, { project: "gemini" })) // => "organization=acme&project=gemini"
 * Selection.id(Selection.refine(current, {})) // => "organization=acme"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const refine = (current: Selection, asked: Input): Selection =>
  make({ ...(current.organization === undefined ? {} : { organization: current.organization }), ...asked })
