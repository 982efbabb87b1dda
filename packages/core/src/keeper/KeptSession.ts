/**
 * One session in the hands of the keeper.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { AuthError } from "../AuthError.ts"
import type { Revocation } from "../iam/IamClient.ts"
import type * as Selection from "../session/Selection.ts"
import type * as Session from "../session/Session.ts"
import type { SessionKey } from "../session/SessionKey.ts"
import type { SessionState } from "../session/SessionState.ts"
import type * as TokenSet from "../session/TokenSet.ts"
import type * as User from "../session/User.ts"
import type { SessionLockError } from "../storage/SessionLock.ts"
import type { TokenStorageError } from "../storage/TokenStorageError.ts"

/**
 * One session in the hands of the keeper, as `SessionKeeper.open` gives it.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeptSession {
  /** The key that the session was opened with. */
  readonly key: SessionKey
  /**
   * A token for the current selection that is valid now. Fresh, it is a read of memory; in its window it is handed out
   * while it is renewed; expired, the caller waits for the renewal.
   */
  readonly token: Effect.Effect<TokenSet.TokenSet, AuthError>
  /** The same for another selection, which does not become the current one. */
  readonly tokenFor: (selection: Selection.Input) => Effect.Effect<TokenSet.TokenSet, AuthError>
  /** The token together with the number of its login, as one value for whoever presents it. */
  readonly bearer: Effect.Effect<Session.Bearer, AuthError>
  /** The same for another selection, which does not become the current one. */
  readonly bearerFor: (selection: Selection.Input) => Effect.Effect<Session.Bearer, AuthError>
  /** What is known of the session, read from the storage at first use; no request. */
  readonly session: Effect.Effect<Option.Option<Session.Session>, TokenStorageError>
  /** Whether the session can produce a token; no request. */
  readonly isAlive: Effect.Effect<boolean, TokenStorageError>
  /** Renews now, whatever is left of the token; a selection becomes the current one, unless `makesCurrent` is false. */
  readonly renew: (
    selection?: Selection.Input,
    options?: { readonly makesCurrent: boolean }
  ) => Effect.Effect<Session.Session, AuthError>
  /** Renews if the current token is due, and waits for it. */
  readonly freshen: Effect.Effect<Session.Session, AuthError>
  /** The same, and also where `isDue` says so of the session as it stands, which it is asked before each renewal. */
  readonly freshenWhen: (isDue: (session: Session.Session) => boolean) => Effect.Effect<Session.Session, AuthError>
  /**
   * Another token in the place of one that an API refused. It renews only if that token is still in use, and answers
   * with a token of the same login: `NotAuthenticated` where another one stands.
   */
  readonly rejected: (
    bearer: Session.Bearer,
    selection?: Selection.Input
  ) => Effect.Effect<Session.Bearer, AuthError>
  /**
   * Puts a newly obtained session in the place of the kept one. When the storage cannot be written it fails, and the
   * session lives on in memory.
   *
   * With `revokePrevious` the IAM is told to end what was replaced. With `isImport` the session is a copy of one that was
   * exported: the same copy again is the same login, and changes nothing where a session of it stands.
   */
  readonly replace: (
    session: Session.Session,
    options?: { readonly revokePrevious?: boolean | undefined; readonly isImport?: boolean | undefined }
  ) => Effect.Effect<Session.Session, TokenStorageError | SessionLockError>
  /** Notes who a session belongs to. It is dropped where another login stands by now. */
  readonly learned: (
    session: Session.Session,
    user: User.User
  ) => Effect.Effect<void, TokenStorageError | SessionLockError>
  /**
   * Drops the session, here and in the storage, and revokes it at the IAM if asked to. In this process it ends in any
   * case; the error names what is left.
   */
  readonly remove: (
    options: { readonly revoke: boolean }
  ) => Effect.Effect<Revocation, TokenStorageError | SessionLockError>
  /**
   * Takes the session out of memory, the schedule and the feed, and says whether it did: not while something of it is in
   * memory only, or somebody works on it. The next use reads it again.
   */
  readonly forget: Effect.Effect<boolean>
  /** Its state, now and whenever it changes. */
  readonly changes: Stream.Stream<SessionState>
}
