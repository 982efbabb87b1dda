/** What a session is known not to have been granted, so that a refresh token is not risked on asking for it. */
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as Option from "effect/Option"
import type { Settings } from "../OidcOptions.ts"

/** Why a renewal for the selection would be refused; `undefined` where it is granted, or cannot be known. */
export const missing = (
  settings: Settings,
  session: Session.Session,
  selection: Selection.Selection
): string | undefined => {
  const { resource } = selection
  if (resource !== undefined && isForeign(settings, session, resource)) {
    return `the session was not granted the resource ${resource}: sign in for it`
  }
  const granted = scopesOf(settings, session, resource)
  const scopes = granted === undefined ? [] : wordsOf(selection.scope).filter((scope) => !granted.has(scope))
  return scopes.length === 0
    ? undefined
    : `the session was not granted the scope ${scopes.join(" ")}: sign in for it`
}

// A login names one resource (RFC 8707, section 2.1). Which one is known only where the options name it: a resource that
// is current may have been selected after a login that named none.
const isForeign = (settings: Settings, session: Session.Session, resource: string): boolean =>
  settings.resource !== undefined && settings.resource !== resource && session.current.resource !== resource &&
  !Object.keys(session.tokens).some((id) => id.split("&").includes(Selection.id(Selection.make({ resource }))))

/** A token for no scope in particular has all that was granted for its resource, if the answer said what. */
const scopesOf = (
  settings: Settings,
  session: Session.Session,
  resource: string | undefined
): ReadonlySet<string> | undefined => {
  const whole = Session.tokenFor(session, Selection.make(resource === undefined ? {} : { resource }))
  const named = Option.flatMap(whole, ({ scope }) => scope)
  if (Option.isNone(named)) return undefined
  // A provider with one access token for each API names the scopes of one only.
  const held = Object.values(session.tokens).flatMap(({ scope }) => wordsOf(Option.getOrUndefined(scope)))
  return new Set([...wordsOf(named.value), ...held, ...settings.scopes, ...wordsOf(session.current.scope)])
}

const wordsOf = (scope: string | undefined): ReadonlyArray<string> => scope?.split(/\s+/).filter(Boolean) ?? []
