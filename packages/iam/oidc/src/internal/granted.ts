/**
 * What a grant covers, so that nothing else is asked of it: some providers use up the refresh token before they refuse the
 * scope or resource (oidc-provider does with `invalid_target`).
 */
import { Granted } from "@effect-authn/core/session/Session"

/** What a request says of the access token that it is for. */
export interface Target {
  readonly resource?: string | undefined
  readonly audience?: string | undefined
  readonly scope?: string | undefined
}

const wordsOf = (scope: string | undefined): ReadonlyArray<string> => scope?.split(/\s+/).filter(Boolean) ?? []

const apisOf = ({ audience, resource }: Target): ReadonlyArray<string> =>
  [resource, audience].filter((api) => api !== undefined)

/** A provider may spell a scope that it grants in another way, so that what was asked for counts beside what it answered. */
export const atLogin = (asked: Target, answered: string | undefined): Granted =>
  Granted.make({
    scopes: [...new Set([...wordsOf(asked.scope), ...wordsOf(answered)])],
    resources: apisOf(asked)
  })

/** The grant after an answer to a renewal. One of which too little is known stays so. */
export const after = (granted: Granted | undefined, answered: string | undefined): Granted | undefined =>
  granted === undefined
    ? undefined
    : Granted.make({
      resources: granted.resources,
      scopes: [...new Set([...granted.scopes, ...wordsOf(answered)])]
    })

/** What of a request a grant does not cover; nothing where that is not known. */
export const missing = (granted: Granted | undefined, asked: Target): string | undefined => {
  if (granted === undefined) return undefined
  const api = apisOf(asked).find((api) => !granted.resources.includes(api))
  if (api !== undefined) return `the ${api === asked.resource ? "resource" : "audience"} ${api}`
  // Which scopes a provider grants to who asks for none, it need not say.
  const scopes = granted.scopes.length === 0
    ? []
    : wordsOf(asked.scope).filter((scope) => !granted.scopes.includes(scope))
  return scopes.length === 0 ? undefined : `the scope ${scopes.join(" ")}`
}
