/**
 * The token that is meant, wherever it comes from.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import type * as Selection from "@effect-authn/core/session/Selection"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as AccountServices from "./AccountServices.ts"
import * as EnvironmentToken from "./EnvironmentToken.ts"
import { failed, Failure, usage } from "./Failure.ts"
import type * as Settings from "./Settings.ts"
import * as TimeSpan from "./TimeSpan.ts"

/**
 * Milliseconds until a token expires; infinite where it has no known end.
 */
export const millisLeft = (tokens: TokenSet.TokenSet, now: DateTime.Utc): number =>
  Option.match(tokens.expiresAt, {
    onNone: () => Number.POSITIVE_INFINITY,
    onSome: (at) => DateTime.toEpochMillis(at) - DateTime.toEpochMillis(now)
  })

/**
 * Reads a token of the environment, without asking anybody.
 */
export const fromEnvironment = Effect.fnUntraced(function*(given: EnvironmentToken.GivenToken) {
  const now = yield* DateTime.now
  const tokens = TokenSet.adopted({ accessToken: yield* given.token, issuedAt: now })
  if (TokenSet.isValid(tokens, now)) return tokens
  return yield* new Failure({
    exitCode: 4,
    detail:
      `the token in ${given.variable} expired ${
        TimeSpan.distance(DateTime.toEpochMillis(now) + millisLeft(tokens, now), DateTime.toEpochMillis(now))
      }: ` +
      (given.isWithoutKey
        ? `authn exec took it from a session whose key it did not hand on. Start the program with authn exec --pass-key, ` +
          `or set ${EnvironmentToken.keyVariables.join(" or ")} here`
        : `put a new one there, or unset ${given.variable} to use the stored session`)
  })
})

/**
 * Refuses a token that would be useless in another program.
 */
export const checkUnbound = (tokens: TokenSet.TokenSet, account: string): Effect.Effect<void, Failure> =>
  TokenSet.isBound(tokens)
    ? Effect.fail(failed(
      `the token of ${account} is bound to a key of this session, and is worth nothing without a proof for each ` +
        "request (DPoP): use a program that makes them (AuthHttpClient), or sign in with: authn login --no-dpop"
    ))
    : Effect.void

/**
 * A token that is valid for at least `minTtl` milliseconds: of the environment, else of the account's session, renewed
 * where it must be.
 */
export const get = Effect.fnUntraced(function*(settings: Settings.Settings, options?: {
  readonly minTtl?: number
  readonly selection?: Selection.Input
}) {
  const minTtl = options?.minTtl ?? 0
  const selection = options?.selection ?? {}
  const isSelected = Object.keys(selection).length > 0
  const given = yield* EnvironmentToken.givenToken(settings)
  if (Option.isSome(given)) {
    const { variable } = given.value
    if (isSelected) {
      return yield* usage(`the token in ${variable} is as it is: to choose, unset ${variable} or give --account`)
    }
    const tokens = yield* fromEnvironment(given.value)
    return yield* longEnough(tokens, minTtl, `the token in ${variable}`)
  }
  const auth = Context.get(yield* AccountServices.openAccount(settings), AuthManager)
  const bearer = yield* isSelected ? auth.bearerTokenFor(selection) : auth.bearerToken
  yield* checkUnbound(bearer.tokens, settings.name)
  if (millisLeft(bearer.tokens, yield* DateTime.now) >= minTtl) return bearer.tokens
  // Many processes may find the same token too old, and it is renewed once.
  const { tokens: renewed } = yield* auth.rejected(bearer, isSelected ? selection : undefined)
  return yield* longEnough(renewed, minTtl, `a new token of ${settings.values.issuer?.value ?? "this IAM"}`)
}, Effect.scoped)

const longEnough = Effect.fnUntraced(function*(tokens: TokenSet.TokenSet, minTtl: number, what: string) {
  const left = millisLeft(tokens, yield* DateTime.now)
  if (left >= minTtl) return tokens
  return yield* failed(
    `${what} is valid for ${TimeSpan.shortfall(left, minTtl)} of --min-ttl`
  )
})
