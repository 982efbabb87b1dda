/**
 * The decisions of a renewal, as functions of a session and a time: what to hand out, whether to ask the IAM, and what a
 * session looks like after the IAM's answer. Everything that waits or writes is in `SessionKeeper`.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import type { IamError } from "../../iam/IamError.ts"
import * as RefreshPolicy from "../../session/RefreshPolicy.ts"
import * as Selection from "../../session/Selection.ts"
import type { TokenResponse } from "../../session/Session.ts"
import * as Session from "../../session/Session.ts"
import * as TokenSet from "../../session/TokenSet.ts"

/** What a renewal is for: the selection, and the token that no longer serves (`rejected` by an API, or only old). */
export interface Target {
  readonly selection: Selection.Selection
  readonly seen: Option.Option<TokenSet.TokenSet>
  readonly rejected: boolean
  readonly makeCurrent: boolean
}

/** What can be told from the session alone, before anybody is asked. */
export type Verdict =
  | { readonly _tag: "Made"; readonly tokens: TokenSet.TokenSet }
  | { readonly _tag: "Ended"; readonly detail: string; readonly answerLost: boolean }
  | { readonly _tag: "Wait"; readonly detail: string; readonly until: number }
  | { readonly _tag: "Send" }

export const isFresh = (policy: RefreshPolicy.RefreshPolicy, tokens: TokenSet.TokenSet, now: DateTime.Utc): boolean =>
  DateTime.toEpochMillis(now) <= RefreshPolicy.freshUntil(policy, tokens)

export const isCurrent = (session: Session.Session, target: Target): boolean =>
  Selection.id(session.current) === Selection.id(target.selection)

const isSeen = (target: Target, tokens: TokenSet.TokenSet): boolean =>
  Option.exists(target.seen, (seen) => TokenSet.isSame(seen, tokens))

export const decide = (
  policy: RefreshPolicy.RefreshPolicy,
  session: Session.Session,
  target: Target,
  now: DateTime.Utc
): Verdict => {
  const tokens = Session.tokenFor(session, target.selection)
  if (Option.isSome(tokens) && !isSeen(target, tokens.value) && isFresh(policy, tokens.value, now)) {
    return { _tag: "Made", tokens: tokens.value }
  }
  if (!Session.canRenew(session, now)) return { _tag: "Ended", ...Session.ending(session, now) }
  // An answer that may have been lost is not asked for again while there is something left to lose.
  if (Option.isSome(session.intent) && !target.rejected) {
    const until = lastExpiry(session)
    if (until > DateTime.toEpochMillis(now)) {
      return { _tag: "Wait", detail: "the answer to an earlier renewal was lost, and a valid token is left", until }
    }
  }
  return { _tag: "Send" }
}

const lastExpiry = (session: Session.Session): number =>
  Object.values(session.tokens).reduce(
    (last, tokens) =>
      Math.max(last, Option.match(tokens.expiresAt, { onNone: () => Infinity, onSome: DateTime.toEpochMillis })),
    Number.NEGATIVE_INFINITY
  )

/** Whether sending the grant may use it up, so that a second sending could be taken for theft. */
export const isConsumable = (session: Session.Session): boolean => session.grant._tag === "RefreshToken"

/** Whether the IAM may have acted on a renewal that failed in this way. */
export const mayHaveActed = (error: IamError): boolean =>
  error.reason._tag === "Malformed" || (error.reason._tag === "Unavailable" && error.reason.sent === "maybe")

/** The session after a successful renewal. Other selections keep their tokens as long as those are valid. */
export const merge = (
  session: Session.Session,
  target: Target,
  issued: TokenResponse,
  now: DateTime.Utc
): Session.Session => {
  const tokens: Record<string, TokenSet.TokenSet> = {}
  for (const [id, held] of Object.entries(session.tokens)) {
    if (TokenSet.isValid(held, now)) tokens[id] = held
  }
  tokens[Selection.id(target.selection)] = issued.tokens
  return Session.update(session, {
    tokens,
    grant: issued.grant,
    user: Option.orElse(issued.user, () => session.user),
    current: target.makeCurrent ? target.selection : session.current,
    dead: Option.none(),
    intent: Option.none()
  })
}

/** The session after its grant was refused for good: no grant, the reason, and what is still valid. */
export const bury = (session: Session.Session, cause: string, now: DateTime.Utc): Session.Session =>
  Session.update(session, {
    grant: { _tag: "None" },
    dead: Option.some(Session.Tombstone.make({ at: now, cause, answerLost: Option.isSome(session.intent) })),
    intent: Option.none()
  })
