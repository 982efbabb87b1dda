/**
 * Which stored sessions have to be seen to, and when, where no program has them open.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Session } from "../session/Session.ts"
import type { SessionKey } from "../session/SessionKey.ts"
import type { TokenStorageError } from "./TokenStorageError.ts"

/**
 * The index of a storage by the time at which its sessions fall due, as `DueAt` says when they are written.
 *
 * **When to use**
 *
 * Use when many sessions are stored and few are asked for: whoever claims the due ones renews them before their grants
 * end, with no timer and no memory for the others. Several programs claim from one storage without getting in each other's
 * way.
 *
 * @category services
 * @since 0.1.0
 */
export class DueSessions extends Context.Service<DueSessions, {
  /**
   * Takes up to `limit` sessions that are due, the earliest first, and puts each off by `lease`: nobody else gets them
   * meanwhile, and who dies gives them back. Writing a session sets its time by `DueAt` again. Sessions of the clients in
   * `except` stay as they are, due and in their order: for an IAM that cannot be asked now.
   */
  readonly claim: (options: {
    readonly limit: number
    readonly lease: Duration.Duration
    readonly except?: ReadonlyArray<Pick<SessionKey, "issuer" | "clientId">> | undefined
  }) => Effect.Effect<ReadonlyArray<SessionKey>, TokenStorageError>
  /** Makes a session due at `until`, whenever it was due before. Nothing happens to one that is not stored. */
  readonly putOff: (key: SessionKey, until: DateTime.Utc) => Effect.Effect<void, TokenStorageError>
  /** When a session falls due by the `DueAt` that the storage was built with, in epoch milliseconds. */
  readonly rule: (session: Session) => Option.Option<number>
  /** How many sessions are due now, and since when the one that waits longest. */
  readonly backlog: Effect.Effect<
    { readonly due: number; readonly oldest: Option.Option<DateTime.Utc> },
    TokenStorageError
  >
}>()("@effect-authn/core/storage/DueSessions") {}

/**
 * When a session falls due, in epoch milliseconds; `None` for never, as every session does unless a program says otherwise.
 * A storage with `DueSessions` takes it when it is built.
 *
 * @category references
 * @since 0.1.0
 */
export const DueAt = Context.Reference<(session: Session) => Option.Option<number>>(
  "@effect-authn/core/storage/DueSessions/DueAt",
  { defaultValue: () => () => Option.none() }
)
