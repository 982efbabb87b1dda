/**
 * The decisions of the keeper, as functions of a session and a time: what a caller gets, whether the IAM may be asked,
 * which of two documents stands, and what a session looks like after the IAM's answer. Nothing here waits or writes.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { IamError } from "../../iam/IamError.ts"
import * as RefreshPolicy from "../../session/RefreshPolicy.ts"
import * as Selection from "../../session/Selection.ts"
import * as Session from "../../session/Session.ts"
import * as TokenSet from "../../session/TokenSet.ts"

/** Why a renewal was begun, as its span tells: a token that is due or has expired, was refused by an API, or was asked for. */
export type Why = "due" | "expired" | "refused" | "asked" | "freshen"

/** What a renewal is for: the selection, the token that no longer serves, and the login that it was begun for. */
export interface Target {
  readonly selection: Selection.Selection
  readonly seen: Option.Option<TokenSet.TokenSet>
  readonly why: Why
  readonly makeCurrent: boolean
  readonly login: number
}

export const isFresh = (policy: RefreshPolicy.RefreshPolicy, tokens: TokenSet.TokenSet, now: DateTime.Utc): boolean =>
  DateTime.toEpochMillis(now) <= RefreshPolicy.freshUntil(policy, tokens)

export const isCurrent = (session: Session.Session, target: Target): boolean =>
  Selection.id(session.current) === Selection.id(target.selection)

// ---------------------------------------------------------------------------------------------------------------------
// what a caller gets
// ---------------------------------------------------------------------------------------------------------------------

export type ForCaller =
  | { readonly _tag: "HandOut"; readonly tokens: TokenSet.TokenSet }
  /** Hand out, and see that a renewal is under way. */
  | { readonly _tag: "HandOutAndRenew"; readonly tokens: TokenSet.TokenSet }
  /** Wait for the renewal; `spare` is what is handed out if it fails, and is still valid then. */
  | { readonly _tag: "Join"; readonly spare: TokenSet.TokenSet | undefined }
  | { readonly _tag: "Wait"; readonly millis: number }
  | { readonly _tag: "Fail" }
  | { readonly _tag: "LookAgain" }
  | { readonly _tag: "Ended" }

/**
 * What a caller gets of a session. `attempts` are those of this call that failed, `pause` the milliseconds before the IAM
 * may be asked again, `rest` those before it is asked for a caller who can do without, `hasLookedAgain` whether the storage
 * was read during this call.
 */
export const forCaller = (policy: RefreshPolicy.RefreshPolicy, session: Session.Session, call: {
  readonly selection: Selection.Selection
  readonly now: DateTime.Utc
  readonly attempts: number
  readonly pause: number
  readonly rest: number
  readonly hasFailure: boolean
  readonly hasLookedAgain: boolean
}): ForCaller => {
  const { attempts, now, pause, selection } = call
  const tokens = Option.getOrUndefined(Session.tokenFor(session, selection))
  const valid = tokens !== undefined && TokenSet.isValid(tokens, now) ? tokens : undefined
  if (valid !== undefined && isFresh(policy, valid, now)) return { _tag: "HandOut", tokens: valid }
  if (!Session.canRenew(session, now)) {
    if (valid !== undefined) return { _tag: "HandOut", tokens: valid }
    // Before saying no: perhaps somebody has signed in again, and no hint of it arrived.
    return call.hasLookedAgain ? { _tag: "Ended" } : { _tag: "LookAgain" }
  }
  if (valid !== undefined && call.rest > 0) return { _tag: "HandOut", tokens: valid }
  if (pause > 0) {
    const isTooLong = attempts === 0 || pause > Duration.toMillis(policy.timeLimit)
    return call.hasFailure && isTooLong ? { _tag: "Fail" } : { _tag: "Wait", millis: pause }
  }
  return valid !== undefined && !policy.renewFirst
    ? { _tag: "HandOutAndRenew", tokens: valid }
    : { _tag: "Join", spare: valid }
}

// ---------------------------------------------------------------------------------------------------------------------
// whether the IAM may be asked
// ---------------------------------------------------------------------------------------------------------------------

/** Why a refresh token may be presented: nobody has, or somebody has and (a) nothing is left to lose, or (b) the grace. */
export type Licence = "first" | "nothing left" | "grace"

/** What can be told from the session alone, before anybody is asked. */
export type Verdict =
  | { readonly _tag: "Made"; readonly tokens: TokenSet.TokenSet }
  | { readonly _tag: "Ended" }
  /** `isForLease`: until the lease of a holder that died is over, and not until a token that is valid ends. */
  | { readonly _tag: "Wait"; readonly until: number; readonly isForLease: boolean }
  | { readonly _tag: "Send"; readonly licence: Licence }

/** What is known of a session beside its document. */
export interface Circumstances {
  readonly now: DateTime.Utc
  /** How long the lock outlives a holder that died, in milliseconds. */
  readonly lease: number
  /** How long this process has seen the intent, in milliseconds. */
  readonly seenFor: number
  /** Whether an API has refused the token. */
  readonly isRefused: (tokens: TokenSet.TokenSet) => boolean
}

const isSeen = (target: Target, tokens: TokenSet.TokenSet): boolean =>
  Option.exists(target.seen, (seen) => TokenSet.isSame(seen, tokens))

// What the network and the IAM may need of a grace.
const graceMargin = 2_000

/** Whether the IAM would answer the refresh token again: its first presentation is young enough. */
export const isInGrace = (policy: RefreshPolicy.RefreshPolicy, intent: Session.Intent, now: DateTime.Utc): boolean => {
  const first = DateTime.toEpochMillis(intent.firstAt ?? intent.at)
  const age = DateTime.toEpochMillis(now) - first
  return age >= 0 && age < Duration.toMillis(policy.reuseGrace) - graceMargin
}

export const forRenewal = (
  policy: RefreshPolicy.RefreshPolicy,
  session: Session.Session,
  target: Target,
  circumstances: Circumstances
): Verdict => {
  const { isRefused, lease, now, seenFor } = circumstances
  const tokens = Session.tokenFor(session, target.selection)
  if (
    Option.isSome(tokens) && !isSeen(target, tokens.value) && isFresh(policy, tokens.value, now) &&
    TokenSet.isValid(tokens.value, now) && !isRefused(tokens.value)
  ) return { _tag: "Made", tokens: tokens.value }
  if (!Session.canRenew(session, now)) return { _tag: "Ended" }
  if (Option.isNone(session.intent)) return { _tag: "Send", licence: "first" }
  const intent = session.intent.value
  const nowMillis = DateTime.toEpochMillis(now)
  const age = Math.max(nowMillis - DateTime.toEpochMillis(intent.at), seenFor)
  const agedAt = age >= lease ? nowMillis : nowMillis + lease - age
  const lost = lostAt(policy, session, target, isRefused)
  if (age >= lease) {
    if (lost <= nowMillis) return { _tag: "Send", licence: "nothing left" }
    if (isInGrace(policy, intent, now)) return { _tag: "Send", licence: "grace" }
  }
  const inGraceThen = agedAt > nowMillis && isInGrace(policy, intent, DateTime.makeUnsafe(agedAt))
  const until = inGraceThen ? agedAt : Math.max(agedAt, lost)
  return { _tag: "Wait", until, isForLease: until === agedAt }
}

/** When there is nothing left to lose: no token of this selection or of the current one that is valid and not refused. */
const lostAt = (
  policy: RefreshPolicy.RefreshPolicy,
  session: Session.Session,
  target: Target,
  isRefused: (tokens: TokenSet.TokenSet) => boolean
): number => {
  const lifetime = Duration.isFinite(policy.defaultLifetime)
    ? policy.defaultLifetime
    : RefreshPolicy.standard.defaultLifetime
  return [Session.tokenFor(session, target.selection), Session.currentToken(session)].reduce((last, held) => {
    if (Option.isNone(held) || isRefused(held.value)) return last
    if (target.why === "refused" && isSeen(target, held.value)) return last
    const end = Option.getOrElse(held.value.expiresAt, () => DateTime.addDuration(held.value.issuedAt, lifetime))
    return Math.max(last, DateTime.toEpochMillis(end))
  }, Number.NEGATIVE_INFINITY)
}

/** Whether sending the grant may use it up, so that a second sending could be taken for theft. */
export const isConsumable = (session: Session.Session): boolean =>
  session.grant._tag === "RefreshToken" && session.rotates !== false

/** Whether the IAM may have acted on a renewal that failed in this way. */
export const mayHaveActed = ({ reason }: IamError): boolean =>
  reason._tag === "Malformed" || (reason._tag === "Unavailable" && reason.sent === "maybe") ||
  (reason._tag === "SelectionRefused" && reason.spent === "maybe")

// ---------------------------------------------------------------------------------------------------------------------
// which of two documents stands
// ---------------------------------------------------------------------------------------------------------------------

/** Whether two documents are of one login, with the same grant and the same current token. */
export const isSameState = (one: Session.Session | undefined, other: Session.Session | undefined): boolean => {
  if (one === undefined || other === undefined) return one === other
  const [token, current] = [one, other].map((session) => Option.getOrUndefined(Session.currentToken(session)))
  return Session.login(one) === Session.login(other) && one.grant._tag === other.grant._tag &&
    (one.grant._tag !== "RefreshToken" || Session.isSameRefreshToken(one.grant, other.grant)) &&
    (token === undefined || current === undefined ? token === current : TokenSet.isSame(token, current))
}

/** What memory knows that the storage may not. */
export interface Unsaved {
  /** An answer to a renewal, or a login. */
  readonly kind: "answer" | "login"
  /** What the session was bought with, directly or in steps, as `priceOf` has it. */
  readonly bought: ReadonlyArray<Redacted.Redacted>
  /** Of a login: those that it takes the place of, and the generation that was found then. */
  readonly replaced: ReadonlyArray<number>
  readonly found: number
}

/** What a renewal of a session is bought with: its refresh token, or its access token where it has none. */
export const priceOf = (session: Session.Session): Redacted.Redacted | undefined =>
  session.grant._tag === "RefreshToken"
    ? session.grant.refreshToken
    : Option.getOrUndefined(Session.currentToken(session))?.accessToken

const isBoughtWith = (bought: ReadonlyArray<Redacted.Redacted>, session: Session.Session): boolean => {
  const price = Option.isSome(session.dead) ? undefined : priceOf(session)
  return price !== undefined && bought.some((one) => Redacted.value(one) === Redacted.value(price))
}

/**
 * Of a session in memory and what the storage holds under its key, which one stands (rules 15 and 17): `Stored` replaces
 * what is in memory, `Memory` goes on and is written again where it is unsaved. `revoke` says that the session in memory
 * is the only copy of a grant that nobody wants any more. `buriesBought` is whether the stored tombstone names something
 * that the session in memory was bought with.
 */
export type Standing =
  | { readonly _tag: "Memory" }
  | { readonly _tag: "Stored"; readonly revoke: boolean }

const memory: Standing = { _tag: "Memory" }

export const standing = (
  held: Session.Session | undefined,
  unsaved: Unsaved | undefined,
  stored: {
    readonly session: Session.Session | undefined
    readonly generation: number
    readonly buriesBought: boolean
  }
): Standing => {
  if (held === undefined) return { _tag: "Stored", revoke: false }
  if (!held.durable) return memory
  if (unsaved === undefined) return { _tag: "Stored", revoke: false }
  const found = stored.session
  if (found === undefined) {
    const isAsFound = unsaved.kind === "login" && unsaved.found === stored.generation
    return isAsFound ? memory : { _tag: "Stored", revoke: true }
  }
  if (Session.login(found) === Session.login(held)) {
    if (stored.buriesBought || isBoughtWith(unsaved.bought, found)) return memory
    const isLater = (held.boughtWith?.presentation ?? 0) > (found.boughtWith?.presentation ?? 0) &&
      held.boughtWith?.token === found.boughtWith?.token
    return isLater ? memory : { _tag: "Stored", revoke: false }
  }
  return unsaved.kind === "login" && unsaved.replaced.includes(Session.login(found))
    ? memory
    : { _tag: "Stored", revoke: true }
}

// ---------------------------------------------------------------------------------------------------------------------
// a session after the IAM's answer
// ---------------------------------------------------------------------------------------------------------------------

/** The session after a successful renewal. Other selections keep their tokens as long as those are valid. */
export const merge = (
  session: Session.Session,
  target: Target,
  response: Session.TokenResponse,
  now: DateTime.Utc
): Session.Session => {
  const tokens: Record<string, TokenSet.TokenSet> = {}
  for (const [id, held] of Object.entries(session.tokens)) {
    if (TokenSet.isValid(held, now)) tokens[id] = held
  }
  tokens[Selection.id(target.selection)] = response.tokens
  return Session.update(session, {
    tokens,
    grant: response.grant,
    user: Option.orElse(response.user, () => session.user),
    current: target.makeCurrent ? target.selection : session.current,
    dead: Option.none(),
    intent: Option.none(),
    granted: response.granted ?? session.granted,
    ...(response.madeAt === undefined ? {} : { madeAt: response.madeAt }),
    ...rotation(session.grant, response.grant)
  })
}

/** An IAM counts as rotating until it answers without a new refresh token, and again once it brings one. */
const rotation = (sent: Session.Grant, got: Session.Grant): { readonly rotates?: boolean | undefined } => {
  if (sent._tag !== "RefreshToken" || got._tag !== "RefreshToken") return {}
  return { rotates: Session.isSameRefreshToken(sent, got) ? false : undefined }
}

/** The session after its grant was refused for good: no grant, the reason, and what is still valid. */
export const bury = (
  session: Session.Session,
  cause: { readonly detail: string; readonly answerLost: boolean; readonly name: string | undefined },
  now: DateTime.Utc
): Session.Session =>
  Session.update(session, {
    grant: { _tag: "None" },
    dead: Option.some(
      Session.Tombstone.make({ at: now, cause: cause.detail, answerLost: cause.answerLost, buries: cause.name })
    ),
    intent: Option.none()
  })
