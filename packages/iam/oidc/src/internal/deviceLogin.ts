/** The device login of a provider (RFC 8628). */
import { type DeviceCode, DeviceLogin } from "@effect-authn/core/iam/DeviceLogin"
import { CredentialsRefused, GrantDead, type IamError, Malformed, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Selection from "@effect-authn/core/session/Selection"
import type { TokenResponse } from "@effect-authn/core/session/Session"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as oauth from "oauth4webapi"
import * as OidcOptions from "../OidcOptions.ts"
import * as Granted from "./granted.ts"
import type { Answered, Provider } from "./provider.ts"
import * as Refusal from "./refusal.ts"
import * as TokenAnswer from "./tokenAnswer.ts"
import { userOf } from "./userinfo.ts"

// RFC 8628, sections 3.2 and 3.5.
const defaultInterval = Duration.seconds(5)
const slowDown = Duration.seconds(5)
const defaultLifetime = Duration.minutes(10)
const longestBackoff = Duration.minutes(1)

/** What the device code was asked for. */
interface Target {
  readonly audience?: string | undefined
  readonly resource?: string | undefined
  readonly scope?: string | undefined
}

export const make = (provider: Provider): DeviceLogin["Service"] => {
  const { settings } = provider

  const begin = Effect.fn("OidcDeviceLogin.begin")(function*(selection: Selection.Selection = Selection.none) {
    const call = provider.call("login")
    const target = yield* OidcOptions.target(settings, selection, "login", settings.scopes)
    yield* provider.endpoint("device_authorization_endpoint", "login")
    yield* provider.openId(yield* provider.metadata("device_authorization_endpoint"), "login")
    const answer = yield* provider.request(
      call,
      ({ as, auth, client, options }) =>
        oauth.deviceAuthorizationRequest(as, client, auth, { ...settings.parameters, ...target }, options),
      { endpoint: "device_authorization_endpoint" }
    )
    if (!TokenAnswer.isIssued(answer)) {
      const code = Refusal.codeOf(answer)
      return yield* code === "unauthorized_client" || code === "unsupported_grant_type"
        ? IamHttp.error(call, new Unsupported({ detail: `the provider allows this client no device codes (${code})` }))
        : Refusal.errorOf(answer, call, "code")
    }
    const begun = read(answer)
    if (begun === undefined) {
      return yield* IamHttp.error(
        call,
        new Malformed({ detail: `${answer.shape}, but no device code that can be used` })
      )
    }
    const { deviceCode, interval, ...shown } = begun
    return { ...shown, poll: poll(deviceCode, interval, shown.expiresAt, target) } satisfies DeviceCode
  })

  const poll = Effect.fn("OidcDeviceLogin.poll")(function*(
    deviceCode: Redacted.Redacted,
    givenInterval: Duration.Duration,
    expiresAt: DateTime.Utc,
    { audience, resource, scope }: Target
  ): Effect.fn.Return<TokenResponse, IamError> {
    const call = provider.call("login", deviceCode)
    const bound = yield* provider.binding
    let interval = givenInterval
    let unanswered = 0
    let retryAfter = Duration.zero
    while (true) {
      const backoff = Duration.max(interval, Duration.min(Duration.times(interval, 2 ** unanswered), longestBackoff))
      const left = DateTime.distance(yield* DateTime.now, expiresAt)
      yield* Effect.sleep(Duration.min(Duration.max(backoff, retryAfter), left))
      if (DateTime.isGreaterThanOrEqualTo(yield* DateTime.now, expiresAt)) return yield* expired(call)
      let status: number | undefined
      const asked = yield* Effect.result(
        provider.request(
          call,
          ({ as, auth, client, options }) =>
            oauth.deviceCodeGrantRequest(as, client, auth, Redacted.value(deviceCode), {
              ...options,
              additionalParameters: resource === undefined ? {} : { resource }
            }),
          {
            bound,
            heard: (heard) => {
              status = heard
            }
          }
        )
      )
      if (status === 429) interval = Duration.sum(interval, slowDown)
      // Section 3.5: who is not answered asks less often.
      unanswered = status === undefined ? unanswered + 1 : 0
      retryAfter = Duration.zero
      if (Result.isFailure(asked)) {
        const { reason } = asked.failure
        if (reason._tag !== "Unavailable") return yield* asked.failure
        // The person may be entering the code just now: no failure that passes ends that.
        retryAfter = reason.retryAfter ?? retryAfter
        continue
      }
      const answer = asked.success
      if (TokenAnswer.isIssued(answer)) return yield* accepted(answer, call, { audience, resource, scope })
      switch (Refusal.codeOf(answer)) {
        case undefined:
          if (Option.isNone(answer.body) && !Refusal.isNoRoute(answer)) continue
          return yield* Refusal.errorOf(answer, call, "code")
        case "authorization_pending":
          continue
        case "slow_down":
          interval = Duration.sum(interval, slowDown)
          continue
        case "access_denied":
          return yield* IamHttp.error(call, new CredentialsRefused({ detail: "the request to sign in was refused" }))
        case "expired_token":
          return yield* expired(call)
        default: {
          const refusal = Refusal.errorOf(answer, call, "code")
          if (refusal.reason._tag !== "Unavailable") return yield* refusal
        }
      }
    }
  })

  const accepted = Effect.fnUntraced(function*(
    answer: Answered,
    call: IamHttp.Call,
    { audience, resource, scope }: Target
  ) {
    const accepted = yield* TokenAnswer.accept(provider, answer, call, oauth.processDeviceCodeResponse)
    return TokenAnswer.issued(provider, accepted, {
      grant: Session.Grant.make({ _tag: "None" }),
      user: yield* userOf(provider, accepted, resource),
      scope,
      granted: Granted.atLogin({ audience, resource, scope }, accepted.scope)
    })
  })

  return DeviceLogin.of({ begin })
}

const expired = (call: IamHttp.Call): IamError =>
  IamHttp.error(call, new GrantDead({ detail: "the code expired before it was entered" }))

const read = ({ body, receivedAt }: IamHttp.Answer) => {
  const fields = Option.getOrElse(body, () => ({}))
  const text = (...names: ReadonlyArray<string>) =>
    names.map((name) => Reflect.get(fields, name)).find((value) => typeof value === "string" && value !== "")
  const [deviceCode, userCode] = [text("device_code"), text("user_code")]
  // Some providers say `url`.
  const verificationUri = text("verification_uri", "verification_url")
  if (deviceCode === undefined || userCode === undefined || !isPage(verificationUri)) return undefined
  const complete = text("verification_uri_complete", "verification_url_complete")
  return {
    deviceCode: Redacted.make(deviceCode, { label: "device_code" }),
    userCode,
    verificationUri,
    verificationUriComplete: isPage(complete) ? Option.some(complete) : Option.none(),
    interval: Option.getOrElse(TokenSet.lifetimeFrom(Reflect.get(fields, "interval")), () => defaultInterval),
    expiresAt: DateTime.addDuration(
      receivedAt,
      Option.getOrElse(TokenSet.lifetimeFrom(Reflect.get(fields, "expires_in")), () => defaultLifetime)
    )
  }
}

// It is shown to a person, who opens it.
const isPage = (address: string | undefined): address is string =>
  address !== undefined && /^https?:$/.test(URL.parse(address)?.protocol ?? "")
