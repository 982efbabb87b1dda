/**
 * An `HttpClient` that carries the session.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type AuthError, NotAuthenticated } from "./AuthError.ts"
import { AuthManager } from "./AuthManager.ts"
import { IamClient } from "./iam/IamClient.ts"
import { IamError, Misconfigured } from "./iam/IamError.ts"
import * as SecureUrl from "./SecureUrl.ts"
import type { TokenSet } from "./session/TokenSet.ts"

/**
 * Makes a client for the API at `baseUrl`, which relative URLs start from.
 *
 * - Every attempt of every request gets the token that is valid then, renewed if it must be.
 * - The token goes only to the origins in `origins`, by default that of `baseUrl`; other requests, and redirects that
 *   lead elsewhere, are sent without it.
 * - After a 401 the session is renewed, unless somebody renewed it meanwhile, and the request is sent once more. If that
 *   cannot be done, or the body was a stream, the 401 is the answer.
 *
 * Fails with `IamError` (`Misconfigured`) if an address is not a URL of http or https.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: {
  readonly baseUrl: string | URL
  readonly origins?: ReadonlyArray<string>
}): Effect.fn.Return<
  HttpClient.HttpClient.With<HttpClientError.HttpClientError | AuthError>,
  IamError,
  AuthManager | IamClient | HttpClient.HttpClient
> {
  const auth = yield* AuthManager
  const iam = yield* IamClient
  const client = yield* HttpClient.HttpClient
  const baseUrl = String(options.baseUrl)
  const origins = options.origins ?? [baseUrl]
  for (const address of [baseUrl, ...origins]) {
    // `localhost:3000` is a URL, too, of a scheme `localhost`.
    if (!/^https?:$/.test(URL.parse(address)?.protocol ?? "")) {
      return yield* new IamError({
        issuer: iam.issuer,
        method: "AuthHttpClient.make",
        reason: new Misconfigured({
          detail: `"${address}" is not the address of an API: write it whole, with https://`
        })
      })
    }
  }
  const allowed = new Set(origins.map((address) => new URL(address).origin))

  const send = (request: HttpClientRequest.HttpClientRequest) =>
    // Redirects are followed here, hop by hop, so that each is measured against the list.
    SecureUrl.withoutRedirects(client.postprocess(Effect.succeed(request)))

  const sendWith = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest, tokens: TokenSet) {
    const session = yield* auth.session
    if (Option.isNone(session)) return yield* new NotAuthenticated({ key: auth.key })
    return yield* send(yield* iam.present({ tokens, login: session.value.obtainedAt ?? 0 }, request))
  })

  const attempt = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest): Effect.fn.Return<
    HttpClientResponse.HttpClientResponse,
    HttpClientError.HttpClientError | AuthError
  > {
    const url = HttpClientRequest.toUrl(request)
    if (Option.isNone(url) || !allowed.has(url.value.origin)) return yield* send(request)
    const tokens = yield* auth.token
    const response = yield* sendWith(request, tokens)
    if (response.status !== 401) return response
    const replacement = yield* Effect.result(auth.rejected(tokens))
    return Result.isFailure(replacement) || !canReplay(request)
      ? response
      : yield* sendWith(request, replacement.success)
  })

  return HttpClient.makeWith(Effect.flatMap(attempt), client.preprocess).pipe(
    HttpClient.followRedirects(),
    HttpClient.mapRequest((request) =>
      URL.canParse(request.url) ? request : HttpClientRequest.prependUrl(request, baseUrl)
    )
  )
})

/** A stream is gone once it was sent; of a `Raw` body nobody knows. */
const canReplay = (request: HttpClientRequest.HttpClientRequest): boolean =>
  request.body._tag !== "Stream" && request.body._tag !== "Raw"
