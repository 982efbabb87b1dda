/**
 * One grant, the access tokens made from it, and what is known about both.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Selection from "./Selection.ts"
import { SessionKey } from "./SessionKey.ts"
import * as TokenSet from "./TokenSet.ts"
import * as User from "./User.ts"

/**
 * What can make new access tokens:
 *
 * - `RefreshToken`: a refresh token (RFC 6749, section 6). Sending it may consume it. `expiresAt` is its own end, where
 *   the IAM tells (`refresh_expires_in`, `refresh_token_expires_in`).
 * - `ExchangeAccessToken`: the access token itself, while it is valid.
 * - `Reissue`: credentials that stay at hand. `source` names where they come from (a workload's platform, another session)
 *   among those that the program knows; without it they are the client's own.
 * - `None`: nothing; when the access token ends, the session ends.
 *
 * @category models
 * @since 0.1.0
 */
export const Grant = Schema.TaggedUnion({
  RefreshToken: {
    refreshToken: Schema.RedactedFromValue(Schema.NonEmptyString),
    expiresAt: Schema.optional(Schema.DateTimeUtcFromMillis)
  },
  ExchangeAccessToken: {},
  Reissue: { source: Schema.optional(Schema.NonEmptyString) },
  None: {}
})

/**
 * The type of the schema `Grant`.
 *
 * @category models
 * @since 0.1.0
 */
export type Grant = typeof Grant.Type

/**
 * The mark on a session whose grant the IAM refused for good: what the IAM said, when, and whether the answer to an
 * earlier renewal had been lost (then a rotated refresh token was probably lost with it). `buries` is the digest of the
 * refresh token that was refused: SHA-256, in base64url.
 *
 * @category models
 * @since 0.1.0
 */
export class Tombstone extends Schema.Class<Tombstone>("@effect-authn/core/session/Session/Tombstone")({
  at: Schema.DateTimeUtcFromMillis,
  cause: Schema.String,
  answerLost: Schema.Boolean,
  buries: Schema.optional(Schema.String)
}) {}

/**
 * The mark that a renewal is sent, written before sending: only its writer presents the refresh token. A survivor can
 * tell from it what was under way.
 *
 * - `at` is when it was written, `holder` who wrote it, and `nonce` what tells two intents of one holder apart.
 * - `presentations` counts the presentations of this refresh token (one unless told), and `firstAt` is the time of the
 *   first one (`at` unless told).
 *
 * @category models
 * @since 0.1.0
 */
export class Intent extends Schema.Class<Intent>("@effect-authn/core/session/Session/Intent")({
  at: Schema.DateTimeUtcFromMillis,
  selection: Selection.Selection,
  holder: Schema.String,
  nonce: Schema.optional(Schema.String),
  presentations: Schema.optional(Schema.Natural),
  firstAt: Schema.optional(Schema.DateTimeUtcFromMillis)
}) {}

/**
 * What a session's tokens were bought with: the digest of the refresh token that was presented, and the number of that
 * presentation. It is kept where one refresh token can be answered twice (a grace, or a second presentation).
 *
 * @category models
 * @since 0.1.0
 */
export class Purchase extends Schema.Class<Purchase>("@effect-authn/core/session/Session/Purchase")({
  token: Schema.String,
  presentation: Schema.Natural
}) {}

/**
 * What a grant covers, as far as the login and the answers since tell: the `scopes` that were asked for or answered, and
 * the `resources` that were asked for. Anything else needs another login (RFC 6749, section 6; RFC 8707, section 2.2).
 *
 * @category models
 * @since 0.1.0
 */
export class Granted extends Schema.Class<Granted>("@effect-authn/core/session/Session/Granted")({
  scopes: Schema.Array(Schema.String),
  resources: Schema.Array(Schema.String)
}) {}

/**
 * The key to which a session's tokens are bound (RFC 9449): whoever has the tokens alone has nothing.
 *
 * - `Enclosed`: the private key itself, as a JWK, in the session's document.
 * - `Held`: a key that is kept somewhere else, and perhaps never leaves it: `keeper` says by whom (`keychain`), `name` which
 *   one it is there, and `thumbprint` that it is still the same (RFC 7638).
 *
 * @category models
 * @since 0.1.0
 */
export const ProofKey = Schema.TaggedUnion({
  Enclosed: { jwk: Schema.RedactedFromValue(Schema.JsonObject) },
  Held: { keeper: Schema.NonEmptyString, name: Schema.NonEmptyString, thumbprint: Schema.NonEmptyString }
})

/**
 * The type of the schema `ProofKey`.
 *
 * @category models
 * @since 0.1.0
 */
export type ProofKey = typeof ProofKey.Type

/**
 * Where a session was made, kept by a dialect whose IAM names its endpoints itself: the addresses that may renew it
 * (`token`), revoke it (`revocation`) and tell who it belongs to (`userinfo`), and the way in which the client
 * authenticated there last, so that no renewal begins with a refusal. Other endpoints need another login.
 *
 * @category models
 * @since 0.1.0
 */
export class MadeAt extends Schema.Class<MadeAt>("@effect-authn/core/session/Session/MadeAt")({
  token: Schema.NonEmptyString,
  revocation: Schema.optionalKey(Schema.NonEmptyString),
  userinfo: Schema.optionalKey(Schema.NonEmptyString),
  clientAuthentication: Schema.optionalKey(Schema.NonEmptyString)
}) {}

/**
 * A session, as it is held in memory and in a storage.
 *
 * - `generation` is the fence of compare and set; 0 means that the session was never written.
 * - `obtainedAt` is the number of the login that made it: epoch seconds × 1,000,000 and six drawn digits. Renewals keep it,
 *   so that they can be told from another login.
 * - `durable` is false for a session that lives in memory only (`store: false`, a token of the environment).
 * - `strategy` is the name of the way in which it was obtained.
 * - `tokens` has an access token for each selection that was asked for, by `Selection.id`.
 * - `dead` is the tombstone of a refused grant; `intent` tells of a renewal whose answer is not known.
 * - `granted` is what the grant covers, where that is known; only a dialect that is told of it looks at it.
 * - `proofKey` is the key to which its tokens are bound, where they are.
 * - `madeAt` is where the login was, where the dialect tells.
 * - `rotates` is false once the IAM has answered a renewal without a new refresh token: then sending spends nothing.
 *
 * @category models
 * @since 0.1.0
 */
export class Session extends Schema.Class<Session>("@effect-authn/core/session/Session")({
  // A stored document says `client`, and goes on saying it.
  key: SessionKey.pipe(Schema.encodeKeys({ clientId: "client" })),
  generation: Schema.Natural,
  obtainedAt: Schema.optionalKey(Schema.Natural),
  durable: Schema.Boolean,
  strategy: Schema.NonEmptyString,
  user: Schema.OptionFromOptionalKey(User.User),
  grant: Grant,
  tokens: Schema.Record(Schema.String, TokenSet.TokenSet),
  current: Selection.Selection,
  dead: Schema.OptionFromOptionalKey(Tombstone),
  intent: Schema.OptionFromOptionalKey(Intent),
  granted: Schema.optional(Granted),
  proofKey: Schema.optional(ProofKey),
  madeAt: Schema.optional(MadeAt),
  rotates: Schema.optional(Schema.Boolean),
  boughtWith: Schema.optional(Purchase)
}) {}

/**
 * What an IAM answers to a login or a renewal (RFC 6749, section 5.1): the access token, what can make the next one, and
 * who it belongs to, where the answer says so. A renewal that brings no new refresh token answers with the old one.
 * `granted` is what the grant covers and `madeAt` where it can be used, where the dialect knows it, and `proofKey` the key
 * to which the tokens of a login are bound.
 *
 * @category models
 * @since 0.1.0
 */
export interface TokenResponse {
  readonly tokens: TokenSet.TokenSet
  readonly grant: Grant
  readonly user: Option.Option<User.User>
  readonly granted?: Granted | undefined
  readonly proofKey?: ProofKey | undefined
  readonly madeAt?: MadeAt | undefined
}

/**
 * One access token and the number of the login that it is of: one immutable value that the keeper hands out, so that a
 * token is never judged apart from its login. `login` is the session's `obtainedAt`, 0 where it has none; `proofKey` is the
 * key to which the token is bound, where it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bearer {
  readonly tokens: TokenSet.TokenSet
  readonly login: number
  readonly proofKey?: ProofKey | undefined
}

/**
 * A session that was just obtained and is not written anywhere yet. The keeper numbers its login, unless `login` tells.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromResponse = (key: SessionKey, response: TokenResponse, options: {
  readonly strategy: string
  readonly selection: Selection.Selection
  readonly durable?: boolean
  readonly login?: number
}): Session =>
  Session.make({
    key,
    generation: 0,
    ...(options.login === undefined ? {} : { obtainedAt: options.login }),
    durable: options.durable ?? true,
    strategy: options.strategy,
    user: response.user,
    grant: response.grant,
    ...(response.granted === undefined ? {} : { granted: response.granted }),
    ...(response.proofKey === undefined ? {} : { proofKey: response.proofKey }),
    ...(response.madeAt === undefined ? {} : { madeAt: response.madeAt }),
    tokens: { [Selection.id(options.selection)]: response.tokens },
    current: options.selection,
    dead: Option.none(),
    intent: Option.none()
  })

/**
 * Whether two grants are the same refresh token.
 *
 * @category guards
 * @since 0.1.0
 */
export const isSameRefreshToken = (self: Grant, that: Grant): boolean =>
  self._tag === "RefreshToken" && that._tag === "RefreshToken" &&
  Redacted.value(self.refreshToken) === Redacted.value(that.refreshToken)

/**
 * The number of the login that made a session.
 *
 * @category accessors
 * @since 0.1.0
 */
export const login = (self: Session): number => self.obtainedAt ?? 0

/**
 * A token of a session, as it is handed out.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bearer = (self: Session, tokens: TokenSet.TokenSet): Bearer => ({
  tokens,
  login: login(self),
  ...(self.proofKey === undefined ? {} : { proofKey: self.proofKey })
})

/**
 * The document that stands for "signed out" where absence would not do: it has a generation, which an absent document
 * has not, so that a late write cannot bring back what was signed out. The next login replaces it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const signedOut = (key: SessionKey, generation: number): Session =>
  Session.make({
    key,
    generation,
    durable: true,
    strategy: "signed out",
    user: Option.none(),
    grant: { _tag: "None" },
    tokens: {},
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })

/**
 * Whether a document says that nobody is signed in.
 *
 * @category guards
 * @since 0.1.0
 */
export const isSignedOut = (self: Session): boolean =>
  self.grant._tag === "None" && Option.isNone(self.dead) && Object.keys(self.tokens).length === 0

/**
 * A new number for a login at `now`; `random` is in [0, 1).
 *
 * @category constructors
 * @since 0.1.0
 */
export const loginNumber = (now: DateTime.Utc, random: number): number =>
  Math.floor(DateTime.toEpochMillis(now) / 1000) * 1_000_000 + Math.floor(random * 1_000_000)

/**
 * The generation that follows `previous`. It is at least the epoch milliseconds of `now`, so that it grows across the
 * removal of a session, which leaves nothing behind to count from.
 *
 * @category constructors
 * @since 0.1.0
 */
export const nextGeneration = (previous: number, now: DateTime.Utc): number =>
  Math.max(previous + 1, DateTime.toEpochMillis(now))

/**
 * A copy of a session with some fields replaced.
 *
 * @category combinators
 * @since 0.1.0
 */
export const update = (self: Session, fields: Partial<Omit<Session, "key">>): Session =>
  Session.make(Object.assign({}, self, fields), { disableChecks: true })

/**
 * The access token for a selection, whether or not it is still valid.
 *
 * @category accessors
 * @since 0.1.0
 */
export const tokenFor = (self: Session, selection: Selection.Selection): Option.Option<TokenSet.TokenSet> =>
  Option.fromNullishOr(self.tokens[Selection.id(selection)])

/**
 * The access token for the current selection, whether or not it is still valid.
 *
 * @category accessors
 * @since 0.1.0
 */
export const currentToken = (self: Session): Option.Option<TokenSet.TokenSet> => tokenFor(self, self.current)

/**
 * Whether the session's grant can make a new access token at `now`, as far as this side can tell.
 *
 * @category guards
 * @since 0.1.0
 */
export const canRenew = (self: Session, now: DateTime.Utc): boolean => {
  if (Option.isSome(self.dead)) return false
  const { _tag } = self.grant
  if (_tag !== "ExchangeAccessToken") return _tag !== "None"
  return Option.exists(currentToken(self), (tokens) => TokenSet.isValid(tokens, now))
}

/**
 * Whether the session can still produce an access token at `now`: it holds a valid one, or can renew.
 *
 * **Example** (A session without a grant)
 *
 * ```ts import.meta.vitest
 * import { Selection, Session, SessionKey, TokenSet } from "@effect-authn/core"
 * import { DateTime, Option, Redacted } from "effect"
 *
 * const key = SessionKey.SessionKey.make({ issuer: "https://idp.example.com", clientId: "my-app", account: "default" })
 * const tokens = TokenSet.TokenSet.make({
 *   accessToken: Redacted.make("at-1"),
 *   tokenType: "Bearer",
 *   issuedAt: DateTime.makeUnsafe(0),
 *   expiresAt: Option.some(DateTime.makeUnsafe(3_600_000)),
 *   idToken: Option.none(),
 *   scope: Option.none()
 * })
 * const grant = Session.Grant.cases.None.make({})
 * const session = Session.fromResponse(key, { tokens, grant, user: Option.none() }, {
 *   strategy: "token",
 *   selection: Selection.none
 * })
 * Session.isAlive(session, DateTime.makeUnsafe(0)) // => true
 * Session.canRenew(session, DateTime.makeUnsafe(0)) // => false
 * Session.isAlive(session, DateTime.makeUnsafe(3_600_000)) // => false
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isAlive = (self: Session, now: DateTime.Utc): boolean =>
  Option.exists(currentToken(self), (tokens) => TokenSet.isValid(tokens, now)) || canRenew(self, now)

/**
 * Why a session that can neither be used nor renewed at `now` has come to its end.
 *
 * @category accessors
 * @since 0.1.0
 */
export const ending = (
  self: Session,
  now: DateTime.Utc
): { readonly detail: string; readonly answerLost: boolean } => {
  if (Option.isSome(self.dead)) {
    return { detail: self.dead.value.cause, answerLost: self.dead.value.answerLost }
  }
  const expired = Option.match(
    Option.filter(
      Option.flatMap(currentToken(self), (tokens) => tokens.expiresAt),
      (at) => DateTime.isLessThanOrEqualTo(at, now)
    ),
    { onNone: () => "", onSome: (at) => `its token expired at ${DateTime.formatIso(at)}, and ` }
  )
  return {
    detail: self.grant._tag === "ExchangeAccessToken"
      ? `${expired}only a token that is still valid can be exchanged for a new one`
      : `${expired}nothing can renew it`,
    answerLost: false
  }
}
