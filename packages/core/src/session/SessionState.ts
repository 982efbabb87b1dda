/**
 * What a program or a person can see of a session, as it happens.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as DateTime from "effect/DateTime"
import type { Session } from "./Session.ts"

/**
 * - `SignedOut`: there is no session; `detail` says why, if anything happened.
 * - `SignedIn`: the session is good. `unsaved` says why its newest tokens are in memory only, and since when, if they are.
 * - `Renewing`: a renewal is under way.
 * - `Stale`: the last renewal failed for a passing reason; the next attempt is at `nextAttempt`.
 * - `ReauthenticationRequired`: the grant is gone; what is still valid is served until it expires.
 *
 * No member shows a secret when it is printed.
 *
 * @category models
 * @since 0.1.0
 */
export type SessionState = Data.TaggedEnum<{
  SignedOut: { readonly detail: string | undefined }
  SignedIn: {
    readonly session: Session
    readonly unsaved: { readonly cause: string; readonly since: DateTime.Utc } | undefined
  }
  Renewing: { readonly session: Session }
  Stale: { readonly session: Session; readonly cause: string; readonly nextAttempt: DateTime.Utc }
  ReauthenticationRequired: { readonly session: Session; readonly detail: string; readonly answerLost: boolean }
}>

/**
 * The members of `SessionState`, their guards and matchers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const SessionState = Data.taggedEnum<SessionState>()
