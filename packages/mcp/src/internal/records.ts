/**
 * What is known of servers and clients, beside the sessions: in the same place, protected in the same way. A record is the
 * token of a session that has no grant, so that the keeper writes it as it writes every session.
 */
import * as ExportDocument from "@effect-authn/core/iam/ExportDocument"
import { adoptBearer, IamClient, presentBearer, Revocation } from "@effect-authn/core/iam/IamClient"
import { IamError, Unsupported } from "@effect-authn/core/iam/IamError"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type { SessionLock, SessionLockError } from "@effect-authn/core/storage/SessionLock"
import type { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/** What can go wrong with a record. */
export type Failure = TokenStorageError | SessionLockError

/** A set of records of one kind, by name. */
export interface Records<A> {
  readonly key: (name: string) => SessionKey.SessionKey
  readonly get: (name: string) => Effect.Effect<Option.Option<A>, TokenStorageError>
  readonly set: (name: string, value: A) => Effect.Effect<void, Failure>
  readonly drop: (name: string) => Effect.Effect<void, Failure>
  readonly names: Effect.Effect<ReadonlyArray<string>, TokenStorageError>
}

const issuer = "mcp"
const nobody = (method: string) =>
  Effect.fail(new IamError({ issuer, method, reason: new Unsupported({ detail: "this is a record, and no session" }) }))

/** A record has no grant: nothing of this is ever asked. */
const iam = IamClient.of({
  issuer,
  clientId: issuer,
  policy: RefreshPolicy.standard,
  environment: [],
  login: () => nobody("login"),
  adopt: adoptBearer({ issuer }),
  renew: () => nobody("renew"),
  whoami: () => nobody("whoami"),
  revoke: () => Effect.succeed(Revocation.cases.NotRevoked.make({ reason: "this is a record, and no session" })),
  present: presentBearer,
  document: ExportDocument.make({ issuer })
})

/** The keeper of all records, which lives as long as the scope. */
export const keeper: Effect.Effect<
  SessionKeeper.SessionKeeper["Service"],
  never,
  TokenStorage | SessionLock | Scope.Scope
> = Effect.map(
  Layer.build(Layer.provide(SessionKeeper.layer, Layer.succeed(IamClient, iam))),
  (built) => Context.get(built, SessionKeeper.SessionKeeper)
)

/** The records of one kind; names are issuers or servers. */
export const make = <S extends Schema.Codec<unknown, unknown>>(
  kept: SessionKeeper.SessionKeeper["Service"],
  storage: TokenStorage["Service"],
  kind: string,
  schema: S,
  account = "mcp"
): Records<S["Type"]> => {
  const Text = Schema.fromJsonString(Schema.toCodecJson(schema))
  const decode = Schema.decodeUnknownOption(Text)
  const encode = Schema.encodeEffect(Text)
  const key = (name: string) => SessionKey.SessionKey.make({ issuer: name, clientId: kind, account })
  return {
    key,
    get: (name) =>
      Effect.map(storage.get(key(name)), (found) =>
        Option.flatMap(
          Option.flatMap(found, Session.currentToken),
          ({ accessToken }) => decode(Redacted.value(accessToken))
        )),
    set: Effect.fnUntraced(function*(name, value) {
      const text = yield* Effect.orDie(encode(value))
      const tokens = TokenSet.TokenSet.make({
        accessToken: Redacted.make(text),
        tokenType: kind,
        issuedAt: yield* DateTime.now,
        expiresAt: Option.none(),
        idToken: Option.none(),
        scope: Option.none()
      })
      yield* kept.open(key(name)).replace(
        Session.fromResponse(
          key(name),
          { tokens, grant: Session.Grant.cases.None.make({}), user: Option.none() },
          { strategy: kind, selection: Selection.none }
        )
      )
    }),
    drop: (name) => Effect.asVoid(kept.open(key(name)).remove({ revoke: false })),
    names: Effect.map(
      storage.keys,
      (keys) => keys.filter((one) => one.clientId === kind && one.account === account).map((one) => one.issuer)
    )
  }
}
