/**
 * What a server asks for when it refuses a request: the challenges of a `WWW-Authenticate` header (RFC 9110, section 11.6.1).
 *
 * @since 0.1.0
 */

/**
 * One challenge: its scheme in lower case, and its parameters by their names in lower case.
 *
 * @category models
 * @since 0.1.0
 */
export interface Challenge {
  readonly scheme: string
  readonly parameters: ReadonlyMap<string, string>
}

/**
 * Reads the challenges of a header, in their order. What cannot be read ends the list.
 *
 * **Example** (Two challenges in one header)
 *
 * ```ts import.meta.vitest
 * import { Challenge } from "@effect-authn/core"
 *
 * const challenges = Challenge.parse(`Basic realm="x, y", Bearer error="invalid_token"`)
 * challenges.map(({ scheme }) => scheme) // => ["basic", "bearer"]
 * challenges[1]?.parameters.get("error") // => "invalid_token"
 * ```
 *
 * @category parsing
 * @since 0.1.0
 */
export const parse = (header: string): ReadonlyArray<Challenge> => {
  const found: Array<{ readonly scheme: string; readonly parameters: Map<string, string> }> = []
  let at = 0
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at
    const match = pattern.exec(header)
    if (match !== null) at = pattern.lastIndex
    return match
  }
  for (;;) {
    take(separator)
    const current = found.at(-1)
    const pair = current === undefined ? null : take(parameter)
    if (current !== undefined && pair !== null) {
      const [, name = "", quoted, plain = ""] = pair
      const key = name.toLowerCase()
      if (!current.parameters.has(key)) current.parameters.set(key, quoted?.replace(/\\(.)/gs, "$1") ?? plain)
      continue
    }
    const scheme = take(token)?.[0]
    if (scheme === undefined) return found
    found.push({ scheme: scheme.toLowerCase(), parameters: new Map() })
    take(token68)
  }
}

const token = /[!#$%&'*+.^_`|~\w-]+/y
const parameter = /[ \t]*([!#$%&'*+.^_`|~\w-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))[ \t]*/sy
const token68 = /[ \t]+[\w.~+/-]+=*[ \t]*(?=,|$)/y
const separator = /[\s,]*/y
