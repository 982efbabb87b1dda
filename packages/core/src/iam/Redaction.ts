/**
 * What Effect must not show of a request in spans, logs and errors.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"

/**
 * The parameters of OAuth 2 and OpenID Connect that are secret, or good for signing in for a while.
 *
 * @category constants
 * @since 0.1.0
 */
export const parameterNames: ReadonlyArray<string> = [
  "access_token",
  "assertion",
  "client_assertion",
  "client_secret",
  "code",
  "code_verifier",
  "device_code",
  "id_token",
  "id_token_hint",
  "nonce",
  "password",
  "refresh_token",
  "actor_token",
  "state",
  "subject_token",
  "token",
  "user_code"
]

/**
 * The headers beside `Authorization` and cookies that carry a token.
 *
 * @category constants
 * @since 0.1.0
 */
export const headerNames: ReadonlyArray<string> = ["dpop", "proxy-authorization", "x-external-token"]

/**
 * Hides the headers of `headerNames` in what a request of ours shows, whichever layers a program has.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withoutHeaders = <A, E, R>(request: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateService(request, Headers.CurrentRedactedNames, (names) => [...names, ...headerNames])

/**
 * Adds `parameterNames` and `headerNames` to Effect's own lists.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.mergeAll(
  Layer.sync(UrlParams.CurrentRedactedNames, () => [
    ...UrlParams.CurrentRedactedNames.defaultValue(),
    ...parameterNames
  ]),
  Layer.sync(Headers.CurrentRedactedNames, () => [...Headers.CurrentRedactedNames.defaultValue(), ...headerNames])
)
