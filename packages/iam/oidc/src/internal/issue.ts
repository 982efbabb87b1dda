/** Tokens from a `TokenSource`: by an assertion (RFC 7523) or by an exchange (RFC 8693). */
import { CredentialsRefused, type IamError, Malformed } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import type * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as oauth from "oauth4webapi"
import type { Secret } from "../ClientAuthentication.ts"
import * as OidcClaims from "../OidcClaims.ts"
import * as OidcOptions from "../OidcOptions.ts"
import type { Exchange, Exchanged, TokenSource, TokenType } from "../TokenSource.ts"
import * as External from "./external.ts"
import type { Provider } from "./provider.ts"
import * as Refusal from "./refusal.ts"
import * as TokenAnswer from "./tokenAnswer.ts"

const jwtBearerGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
const exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"

const typeName = (type: TokenType): string => type.includes(":") ? type : `urn:ietf:params:oauth:token-type:${type}`

/** Gets what is given for a token. One that has expired is not sent. */
const given = Effect.fnUntraced(function*(
  provider: Provider,
  secret: Secret,
  method: string,
  what: string
): Effect.fn.Return<Redacted.Redacted, IamError> {
  const { issuer, policy } = provider.settings
  const call = { issuer, method }
  const got = Effect.isEffect(secret)
    ? yield* External.get(secret, call, { what, timeLimit: policy.timeLimit })
    : secret
  const token = yield* External.sendable(
    got,
    (why) => IamHttp.error(call, new CredentialsRefused({ detail: `${what} ${why}` }))
  )
  const end = TokenSet.timeClaim(token, "exp")
  const now = yield* DateTime.now
  if (Option.isSome(end) && DateTime.isLessThanOrEqualTo(end.value, now)) {
    const detail = `${what} expired at ${DateTime.formatIso(end.value)}: it was not sent`
    return yield* IamHttp.error(call, new CredentialsRefused({ detail }))
  }
  return token
})

const optional = (fields: { readonly [name: string]: string | undefined }): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).flatMap(([name, value]) => value === undefined ? [] : [[name, value]]))

/** The tokens that are sent for another one, and the parameters that say what they are. */
const exchangeOf = Effect.fnUntraced(function*(provider: Provider, exchange: Exchange, method: string) {
  const subject = yield* given(provider, exchange.subject, method, "the token of the subject")
  const actor = exchange.actor === undefined
    ? undefined
    : yield* given(provider, exchange.actor, method, "the token of the actor")
  const parameters = optional({
    subject_token: Redacted.value(subject),
    subject_token_type: typeName(exchange.subjectType ?? "access_token"),
    actor_token: actor === undefined ? undefined : Redacted.value(actor),
    actor_token_type: actor === undefined ? undefined : typeName(exchange.actorType ?? "access_token"),
    requested_token_type: exchange.requestedType === undefined ? undefined : typeName(exchange.requestedType),
    audience: exchange.audience,
    resource: exchange.resource,
    scope: exchange.scope
  })
  return { subject, secrets: actor === undefined ? [subject] : [subject, actor], parameters }
})

/** An exchange whose answer becomes no session. */
export const exchange = Effect.fnUntraced(function*(
  provider: Provider,
  asked: Exchange
): Effect.fn.Return<Exchanged, IamError> {
  const { parameters, secrets, subject } = yield* exchangeOf(provider, asked, "exchange")
  const call = provider.call("exchange", ...secrets)
  const answer = yield* provider.request(
    call,
    ({ as, auth, client, options }) =>
      oauth.genericTokenEndpointRequest(as, client, auth, exchangeGrant, parameters, options)
  )
  if (!TokenAnswer.isIssued(answer)) return yield* Refusal.errorOf(answer, call, "client")
  const body = Option.getOrThrow(answer.body)
  const text = (name: string) => typeof body[name] === "string" && body[name] !== "" ? body[name] : undefined
  const refuse = (detail: string) =>
    IamHttp.error(call, new Malformed({ detail: `the exchanged token is refused: ${detail}` }))
  const issuedType = text("issued_token_type")
  const { requested_token_type: requested } = parameters
  // Who knows nothing of types gives an access token, which is not to be shown to whom another token is for.
  if (requested !== undefined && (issuedType ?? typeName("access_token")) !== requested) {
    const type = issuedType === undefined ? "not told" : IamHttp.quote(issuedType, TokenAnswer.secretsIn(body))
    return yield* refuse(`its type is ${type}, not ${requested}`)
  }
  const token = yield* Effect.fromOption(
    Option.flatMap(Option.fromUndefinedOr(text("access_token")), TokenSet.accessTokenFrom),
    () => refuse("there is none, or it has a character that no token has")
  )
  const told = Option.map(
    TokenSet.lifetimeFrom(body["expires_in"]),
    (life) => DateTime.addDuration(answer.receivedAt, life)
  )
  return {
    token,
    issuedType,
    tokenType: text("token_type") ?? "N_A",
    expiresAt: earliest(told, TokenSet.timeClaim(subject, "exp")),
    scope: text("scope")
  }
})

const earliest = (one: Option.Option<DateTime.Utc>, other: Option.Option<DateTime.Utc>): Option.Option<DateTime.Utc> =>
  Option.isSome(one) && Option.isSome(other)
    ? Option.some(DateTime.min(one.value, other.value))
    : Option.orElse(one, () => other)

/** Issues an access token. `held` is the session that it renews: it stays of the same subject. */
export const issue = Effect.fnUntraced(function*(
  provider: Provider,
  source: TokenSource,
  selection: Selection.Selection,
  held?: Session.Session
): Effect.fn.Return<Session.TokenResponse, IamError> {
  const method = held === undefined ? "login" : "renew"
  const { settings } = provider
  // The scopes of the options are for people.
  const target = yield* OidcOptions.target(settings, selection, method, OidcOptions.scopesOfPrograms(settings))
  const { grant, parameters, secrets, subject } = source._tag === "JwtBearer"
    ? yield* Effect.map(given(provider, source.assertion, method, "the assertion"), (assertion) => ({
      grant: jwtBearerGrant,
      parameters: { assertion: Redacted.value(assertion) },
      secrets: [assertion],
      subject: assertion
    }))
    : yield* Effect.map(exchangeOf(provider, source.exchange, method), (asked) => ({ grant: exchangeGrant, ...asked }))
  const call = provider.call(method, ...secrets)
  const asked: { readonly [name: string]: string } = { ...target, ...parameters }
  const answer = yield* provider.request(
    call,
    ({ as, auth, client, options }) => oauth.genericTokenEndpointRequest(as, client, auth, grant, asked, options),
    {
      way: held?.madeAt?.clientAuthentication,
      bound: yield* held === undefined ? provider.binding : provider.bindingOf(held)
    }
  )
  if (!TokenAnswer.isIssued(answer)) return yield* Refusal.errorOf(answer, call, "client")
  const refuse = (detail: string) => IamHttp.error(call, new Malformed({ detail }))
  const body = Option.getOrThrow(answer.body)
  const issuedType = body["issued_token_type"]
  if (typeof issuedType === "string" && issuedType !== typeName("access_token") && issuedType !== typeName("jwt")) {
    return yield* refuse(
      `the provider gave a ${IamHttp.quote(issuedType, TokenAnswer.secretsIn(body))}, which is no access token`
    )
  }
  const accepted = yield* TokenAnswer.accept(provider, answer, call, oauth.processGenericTokenEndpointResponse)
  const wrong = strangerIn(accepted.accessToken, { source, subject, held })
  if (wrong !== undefined) return yield* refuse(wrong)
  // With its source at hand, a session needs no refresh token.
  const issued = TokenAnswer.issued(provider, { ...accepted, refreshToken: undefined }, {
    grant: Session.Grant.make({ _tag: "Reissue", source: source.name }),
    user: Option.flatMap(claimsOf(accepted.accessToken), OidcClaims.toUser),
    scope: asked["scope"],
    madeAt: held?.madeAt
  })
  return {
    ...issued,
    tokens: TokenSet.until(issued.tokens, TokenSet.timeClaim(subject, "exp"))
  }
})

const claimsOf = (token: Redacted.Redacted): Option.Option<JwtCodec.JsonObject> =>
  Option.map(Result.getSuccess(JwtCodec.decodeUnverified(Redacted.value(token))), ({ claims }) => claims)

interface Named {
  readonly sub: string
  readonly iss: unknown
}

const namedIn = (token: Redacted.Redacted): Named | undefined => {
  const claims = Option.getOrElse(claimsOf(token), (): JwtCodec.JsonObject => ({}))
  const sub = OidcClaims.subjectOf(claims)
  return sub === undefined ? undefined : { sub, iss: claims["iss"] }
}

// Who leaves the issuer out, or spells it with another slash at its end, is not another one by that.
const isOfOneIssuer = (one: Named, other: Named): boolean => {
  const [first, second] = [one.iss, other.iss].map((iss) =>
    typeof iss === "string" ? iss.replace(/\/$/, "") : undefined
  )
  return first === undefined || second === undefined || first === second
}

/** Why a token is of somebody else than it should be, as far as it can be read. */
const strangerIn = (
  token: Redacted.Redacted,
  { held, source, subject }: {
    readonly source: TokenSource
    readonly subject: Redacted.Redacted
    readonly held: Session.Session | undefined
  }
): string | undefined => {
  const got = namedIn(token)
  const stranger = "the token is refused: it is of another subject than"
  if (got === undefined) {
    return source.subject !== undefined && Option.isSome(claimsOf(token))
      ? "the token is refused: it names no subject, and one is expected"
      : undefined
  }
  if (source.subject !== undefined) {
    return got.sub === source.subject ? undefined : `${stranger} the one that is expected`
  }
  const before = held === undefined
    ? undefined
    : Option.getOrUndefined(Option.map(Session.currentToken(held), ({ accessToken }) => namedIn(accessToken)))
  if (before !== undefined && isOfOneIssuer(before, got) && before.sub !== got.sub) return `${stranger} the session`
  // Another issuer may know the same one by another name.
  const asked = source._tag === "TokenExchange" ? namedIn(subject) : undefined
  return asked !== undefined && isOfOneIssuer(asked, got) && asked.sub !== got.sub
    ? `${stranger} the one that was given`
    : undefined
}
