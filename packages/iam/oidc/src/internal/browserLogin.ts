/** The browser login of a provider: the authorization code with PKCE (RFC 6749, section 4.1, RFC 7636). */
import { type BeginOptions, BrowserLogin, PendingLogin } from "@effect-authn/core/iam/BrowserLogin"
import {
  CredentialsRefused,
  type IamError,
  type IamErrorReason,
  Malformed,
  Misconfigured,
  SelectionRefused,
  Unavailable,
  Unsupported
} from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as oauth from "oauth4webapi"
import * as OidcMetadata from "../OidcMetadata.ts"
import * as OidcOptions from "../OidcOptions.ts"
import * as Granted from "./granted.ts"
import type { Provider } from "./provider.ts"
import * as Refusal from "./refusal.ts"
import * as TokenAnswer from "./tokenAnswer.ts"
import { userOf } from "./userinfo.ts"

// More logins than anybody has under way at once.
const remembered = 256

export const make = (provider: Provider): BrowserLogin["Service"] => {
  const { settings } = provider
  const { clientId, issuer, scopes } = settings
  const isOpenId = scopes.includes("openid")
  // A code that is sent twice makes a provider revoke what it gave for it.
  const completed = new Set<string>()

  /**
   * Tells the provider the parameters of its page beforehand (RFC 9126), where it or the caller wants that: then the page is
   * opened with a reference to them. There is no falling back: who asks for it may have to.
   */
  const push = Effect.fnUntraced(function*(parameters: { readonly [name: string]: string }): Effect.fn.Return<
    { readonly [name: string]: string } | undefined,
    IamError
  > {
    const name = "pushed_authorization_request_endpoint"
    const as = yield* provider.metadata(settings.par ? name : "authorization_endpoint")
    if (!settings.par && as.require_pushed_authorization_requests !== true) return undefined
    yield* provider.endpoint(name, "login")
    const call = provider.call("login")
    const answer = yield* provider.request(
      call,
      ({ as, auth, client, options }) => oauth.pushedAuthorizationRequest(as, client, auth, { ...parameters }, options),
      { endpoint: name }
    )
    if (answer.status >= 300 || Option.isNone(answer.body) || Refusal.codeOf(answer) !== undefined) {
      return yield* Refusal.errorOf(answer, call, "code")
    }
    const { request_uri: uri } = answer.body.value
    if (typeof uri !== "string" || uri === "") {
      const detail = "the answer to the pushed request has no request_uri"
      return yield* IamHttp.error(call, new Malformed({ detail }))
    }
    return { client_id: clientId, request_uri: uri }
  })

  const begin = Effect.fn("OidcBrowserLogin.begin")(function*(options: BeginOptions) {
    const selection = options.selection ?? Selection.none
    const call = provider.call("login")
    if (options.provider !== undefined) {
      const detail = "name the provider behind this one in its own parameter: the option `parameters`"
      return yield* IamHttp.error(call, new Unsupported({ detail }))
    }
    const target = yield* OidcOptions.target(settings, selection, "login", scopes)
    const url = new URL(yield* provider.endpoint("authorization_endpoint", "login"))
    yield* provider.openId(yield* provider.metadata("authorization_endpoint"), "login")
    const codeVerifier = oauth.generateRandomCodeVerifier()
    const state = oauth.generateRandomState()
    const nonce = isOpenId ? oauth.generateRandomNonce() : undefined
    // Without consent, a provider has to leave offline_access out (OpenID Connect Core 1.0, section 11).
    const prompt = options.prompt ?? settings.prompt ?? (scopes.includes("offline_access") ? "consent" : "")
    const bound = yield* provider.binding
    const thumbprint = bound === undefined ? undefined : yield* Effect.promise(() => bound.handle.calculateThumbprint())
    const parameters = {
      ...settings.parameters,
      ...options.parameters,
      ...target,
      response_type: "code",
      client_id: clientId,
      redirect_uri: options.redirectUri,
      state,
      code_challenge: yield* Effect.promise(() => oauth.calculatePKCECodeChallenge(codeVerifier)),
      code_challenge_method: "S256",
      ...(nonce === undefined ? {} : { nonce }),
      // Who has the code, and its verifier, still needs the key (RFC 9449, section 10).
      ...(thumbprint === undefined ? {} : { dpop_jkt: thumbprint }),
      ...(prompt === "" ? {} : { prompt })
    }
    const pushed = yield* push(parameters)
    for (const [name, value] of Object.entries(pushed ?? parameters)) url.searchParams.set(name, value)
    const { max_age: maxAge = "" }: { readonly [name: string]: string } = parameters
    const pending = PendingLogin.make({
      issuer,
      client: clientId,
      redirectUri: options.redirectUri,
      selection,
      state,
      ...(/^\d{1,9}$/.test(maxAge) ? { maxAge: Number(maxAge) } : {}),
      nonce: Option.map(Option.fromUndefinedOr(nonce), (nonce) => Redacted.make(nonce, { label: "nonce" })),
      codeVerifier: Option.some(Redacted.make(codeVerifier, { label: "code_verifier" })),
      proofKey: bound?.proofKey
    })
    return { url: url.href, pending }
  })

  /** The parameters of a callback that belongs to this login, and that brings a code. */
  const validated = Effect.fnUntraced(
    function*(pending: PendingLogin, callbackUrl: string, call: IamHttp.Call): Effect.fn.Return<
      URLSearchParams,
      IamError
    > {
      const refuse = (why: string) =>
        IamHttp.error(call, new CredentialsRefused({ detail: `the callback does not belong to this login: ${why}` }))
      if (pending.issuer !== issuer || pending.client !== clientId) {
        return yield* refuse("it was begun at another provider, or for another client")
      }
      if (completed.has(pending.state)) return yield* refuse("this login was completed already")
      const as = yield* provider.metadata("authorization_endpoint")
      const parameters = yield* Effect.try({
        try: () => oauth.validateAuthResponse(as, { client_id: clientId }, new URL(callbackUrl), pending.state),
        catch: (cause) =>
          cause instanceof oauth.AuthorizationResponseError
            ? IamHttp.error(call, refusal(cause))
            : refuse(Predicate.isError(cause) ? cause.message : "it cannot be read")
      })
      const [code = "", ...others] = parameters.getAll("code")
      if (code === "" || others.length > 0) return yield* refuse("it does not have one code")
      return parameters
    }
  )

  const complete = Effect.fn("OidcBrowserLogin.complete")(function*(pending: PendingLogin, callbackUrl: string) {
    const nonce = Option.getOrUndefined(pending.nonce)
    const codeVerifier = Option.getOrElse(pending.codeVerifier, () => Redacted.make(""))
    const begun = provider.call("login", codeVerifier, ...(nonce === undefined ? [] : [nonce]))
    const parameters = yield* validated(pending, callbackUrl, begun)
    const call = { ...begun, secrets: [...begun.secrets, Redacted.make(parameters.get("code") ?? "")] }
    const { audience, resource, scope } = yield* OidcOptions.target(settings, pending.selection, "login", scopes)
    if (settings.isSigned && settings.metadata === undefined) {
      const { jwks_uri, scopes_supported } = yield* provider.metadata("jwks_uri")
      if (jwks_uri === undefined) {
        const detail = OidcMetadata.notOpenId("its metadata names no jwks_uri", scopes_supported)
        return yield* IamHttp.error(call, new Misconfigured({ detail }))
      }
    }
    // A login that was begun without a key is bound all the same: its code could be stolen, its tokens cannot.
    const bound = (yield* provider.bindingOf(pending)) ?? (yield* provider.binding)
    if (completed.size >= remembered) completed.clear()
    completed.add(pending.state)

    const exchange = provider.request(
      call,
      ({ as, auth, client, options }) =>
        oauth.authorizationCodeGrantRequest(
          as,
          client,
          auth,
          parameters,
          pending.redirectUri,
          Redacted.value(codeVerifier),
          { ...options, additionalParameters: resource === undefined ? {} : { resource } }
        ),
      { bound }
    ).pipe(
      Effect.filterOrFail(TokenAnswer.isIssued, (answer) => Refusal.errorOf(answer, call, "code"))
    )
    const answer = yield* untilProcessed(exchange, settings.policy.timeLimit).pipe(
      Effect.tapError(({ reason }) =>
        Effect.sync(() => {
          // The code is as good as before.
          if (reason._tag === "Unavailable" && reason.sent === "no") completed.delete(pending.state)
        })
      )
    )
    if (
      nonce !== undefined &&
      !Option.exists(answer.body, ({ id_token }) => typeof id_token === "string" && id_token !== "")
    ) {
      const why = OidcMetadata.notOpenId("its answer has no id_token", answer.as.scopes_supported)
      return yield* IamHttp.error(call, new Malformed({ detail: `the tokens are refused: ${why}` }))
    }
    const accepted = yield* TokenAnswer.accept(
      provider,
      answer,
      call,
      (as, client, response) =>
        oauth.processAuthorizationCodeResponse(
          as,
          client,
          response,
          nonce === undefined ? {} : {
            expectedNonce: Redacted.value(nonce),
            requireIdToken: true,
            ...(pending.maxAge === undefined ? {} : { maxAge: pending.maxAge })
          }
        )
    )
    if (accepted.refreshToken === undefined && scopes.includes("offline_access")) {
      yield* Effect.logWarning(
        `${issuer} gave no refresh token: it left the scope offline_access out, and the session ends with its access token`
      )
    }
    return TokenAnswer.issued(provider, accepted, {
      grant: Session.Grant.make({ _tag: "None" }),
      user: yield* userOf(provider, accepted, resource),
      scope,
      granted: Granted.atLogin({ audience, resource, scope }, accepted.scope)
    })
  })

  return BrowserLogin.of({ begin, complete })
}

// Who is told nothing of when to come back asks three times more, after one, two and four seconds.
const mostRepeats = 3

/**
 * Sends a code again where the provider certainly has not processed it: it was busy, or could not be reached, or had just
 * given up the connection. Within the time limit, since nobody keeps a code for long.
 */
const untilProcessed = Effect.fnUntraced(function*<A>(
  exchange: Effect.Effect<A, IamError>,
  timeLimit: Duration.Duration
): Effect.fn.Return<A, IamError> {
  const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(timeLimit)
  let wasIdle = false
  for (let repeats = 0;; repeats++) {
    const sent = yield* Effect.result(exchange)
    if (Result.isSuccess(sent)) return sent.success
    const { reason } = sent.failure
    if (reason._tag !== "Unavailable") return yield* sent.failure
    const isClosing: boolean = reason.wasIdle === true && !wasIdle
    if (isClosing) wasIdle = true
    const isUnprocessed = isClosing || reason.sent === "no"
    if (!isUnprocessed || (repeats >= mostRepeats && reason.retryAfter === undefined)) return yield* sent.failure
    const backoff = isClosing ? Duration.zero : Duration.seconds(2 ** Math.min(repeats, mostRepeats))
    const pause = Duration.max(reason.retryAfter ?? Duration.zero, backoff)
    if ((yield* Clock.currentTimeMillis) + Duration.toMillis(pause) > until) return yield* sent.failure
    yield* Effect.sleep(pause)
  }
})

/** What the provider said instead of a code (RFC 6749, section 4.1.2.1). */
const refusal = ({ error, error_description }: oauth.AuthorizationResponseError): IamErrorReason => {
  const said = IamHttp.quote([error, error_description ?? ""].filter((text) => text !== "").join(": "))
  switch (error) {
    case "invalid_scope":
    case "invalid_target":
      return new SelectionRefused({ detail: said })
    case "invalid_request":
    case "unauthorized_client":
    case "unsupported_response_type":
      return new Misconfigured({
        detail: `the provider refuses the request (${said}): check the client's set-up there`
      })
    case "server_error":
    case "temporarily_unavailable":
      return new Unavailable({ sent: "no", detail: said })
    default:
      return new CredentialsRefused({ detail: `the provider did not sign in: ${said}` })
  }
}
