/**
 * Signing in to a Datalayer-style IAM at the page of one of its providers (`github`, `google`, `linkedin`, `okta`).
 *
 * The protocol has no PKCE, and the token comes in the address of the callback. So the callback's address carries a
 * `state` of ours, and the token is believed only after the IAM has said, by `whoami`, whose it is.
 */
import { type BeginOptions, BrowserLogin, PendingLogin } from "@effect-authn/core/iam/BrowserLogin"
import { type IamClient, unselected } from "@effect-authn/core/iam/IamClient"
import {
  CredentialsRefused,
  type IamError,
  type IamErrorReason,
  Malformed,
  Misconfigured
} from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Selection from "@effect-authn/core/session/Selection"
import type { TokenResponse } from "@effect-authn/core/session/Session"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Lenient from "./lenient.ts"

/** The provider of a login that names none. */
const defaultProvider = "github"

// More logins than anybody has under way at once.
const remembered = 256

/** A provider that the IAM does not have is `Misconfigured`. */
export const make = (iam: IamClient["Service"], http: HttpClient.HttpClient): BrowserLogin["Service"] => {
  const { clientId: client, issuer } = iam
  const call: IamHttp.Call = { issuer, method: "login", secrets: [], timeLimit: iam.policy.timeLimit }
  const fail = (reason: IamErrorReason) => IamHttp.error(call, reason)
  const completed = new Set<string>()

  const begin = Effect.fn("DatalayerBrowserLogin.begin")(function*(options: BeginOptions) {
    yield* unselected(call, options.selection ?? Selection.none)
    const state = Base64Url.encode(crypto.getRandomValues(new Uint8Array(32)))
    const callbackUri = new URL(options.redirectUri)
    callbackUri.searchParams.set("state", state)
    const provider = options.provider ?? defaultProvider
    const answer = yield* HttpClientRequest.get(`${issuer}/api/iam/v1/oauth2/authz/url`).pipe(
      HttpClientRequest.setUrlParams({ provider, callback_uri: callbackUri.href }),
      HttpClientRequest.acceptJson,
      (request) => IamHttp.execute(request, call),
      Effect.provideService(HttpClient.HttpClient, http)
    )
    const page = Option.flatMap(answer.body, (body) => Lenient.text(body, "loginURL", "autorization_url"))
    if (answer.status >= 400 || Option.isNone(page)) {
      return yield* Option.isSome(answer.body) && answer.status >= 400
        ? fail(
          new Misconfigured({
            detail: `the IAM cannot sign in with "${provider}": ${Option.getOrElse(answer.message, () => answer.shape)}`
          })
        )
        : IamHttp.unexpected(answer, call)
    }
    if (Result.isFailure(safePage(page.value))) {
      return yield* fail(new Malformed({ detail: "the IAM names a page that is not https" }))
    }
    const pending = PendingLogin.make({
      issuer,
      client,
      redirectUri: callbackUri.href,
      selection: Selection.none,
      state,
      nonce: Option.none(),
      codeVerifier: Option.none()
    })
    return { url: page.value, pending }
  })

  /** A token that belongs to this login, if the IAM says so. */
  const received = Effect.fnUntraced(function*(
    pending: PendingLogin,
    callbackUrl: string
  ): Effect.fn.Return<Redacted.Redacted, IamError> {
    const refuse = (why: string) =>
      fail(new CredentialsRefused({ detail: `the callback does not belong to this login: ${why}` }))
    if (pending.issuer !== issuer || pending.client !== client) return yield* refuse("it was begun at another IAM")
    if (completed.has(pending.state)) return yield* refuse("this login was completed already")
    const parameters = parametersOf(callbackUrl)
    const states = parameters.getAll("state")
    if (states.length !== 1 || states[0] !== pending.state) return yield* refuse("its state is another one")
    const error = parameters.get("error")
    if (error !== null) {
      return yield* fail(new CredentialsRefused({ detail: `the provider did not sign in: ${IamHttp.quote(error)}` }))
    }
    const [token = "", ...others] = parameters.getAll("token")
    if (token === "" || others.length > 0) return yield* refuse("it does not have one token")
    return Redacted.make(token, { label: "access_token" })
  })

  const complete = Effect.fn("DatalayerBrowserLogin.complete")(function*(
    pending: PendingLogin,
    callbackUrl: string
  ): Effect.fn.Return<TokenResponse, IamError> {
    const token = yield* received(pending, callbackUrl)
    if (completed.size >= remembered) completed.clear()
    completed.add(pending.state)
    const issued = yield* iam.adopt(token)
    const key = SessionKey.SessionKey.make({ issuer, clientId: client, account: "default" })
    const session = Session.fromResponse(key, issued, { strategy: "browser", selection: Selection.none })
    const user = yield* iam.whoami(session)
    return { ...issued, user: Option.some(user) }
  })

  return BrowserLogin.of({ begin, complete })
}

// Some servers append `?user=…&token=…` to an address that has a query already.
const parametersOf = (callbackUrl: string): URLSearchParams =>
  new URLSearchParams(URL.parse(callbackUrl)?.search.slice(1).replaceAll("?", "&"))

// The page is where the person types a password: the rules are those for an issuer, but a query is good.
const safePage = (page: string) => IamHttp.endpoint(page.replace(/[?#].*/s, ""))
