// Our library, set up as a Node program would, with the OpenID Connect dialect.
import {
  AuthManager,
  Selection,
  Session,
  SessionKey,
  type SessionLock,
  TokenSet,
  TokenStorage
} from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { FileTokenStorage, NodeAuth } from "@effect-authn/platform-node"
import { Context, DateTime, Duration, Effect, Layer, Option, Redacted } from "effect"
import { type Client, clientId, type Open } from "./renewalClient.ts"
import type { TokenServer } from "./renewalServer.ts"

type Storage = Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock>

/** Sessions in files of this directory. */
export const files = (directory: string): Storage => FileTokenStorage.layer({ directory })

/** A program of ours: the OpenID Connect dialect, in the one-line set-up of Node. */
export const program = (origin: string, storage: Storage) =>
  NodeAuth.layer(
    OidcIam.layer({
      issuer: origin,
      clientId,
      scopes: ["api"],
      metadata: { token_endpoint: `${origin}/token` }
    }),
    { storage }
  )

/** The session of an hour ago, as an earlier program would have left it. */
export const session = Effect.fnUntraced(function*(options: {
  readonly issuer: string
  readonly account?: string
  readonly accessToken?: string
  readonly refreshToken: string
  readonly leftMillis: number
}) {
  const now = yield* DateTime.now
  return Session.Session.make({
    key: SessionKey.SessionKey.make({
      issuer: options.issuer,
      clientId: clientId,
      account: options.account ?? "default"
    }),
    generation: 1,
    durable: true,
    strategy: "browser",
    user: Option.none(),
    grant: Session.Grant.cases.RefreshToken.make({ refreshToken: Redacted.make(options.refreshToken) }),
    tokens: {
      [Selection.id(Selection.none)]: TokenSet.TokenSet.make({
        accessToken: Redacted.make(options.accessToken ?? "access.old"),
        tokenType: "Bearer",
        issuedAt: DateTime.subtractDuration(now, Duration.hours(1)),
        expiresAt: Option.some(DateTime.addDuration(now, Duration.millis(options.leftMillis))),
        idToken: Option.none(),
        scope: Option.none()
      })
    },
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })
})

/** The program is closed with the scope, like any other layer's. */
export const open = (storage: () => Storage): Open =>
  Effect.fnUntraced(function*(server: TokenServer, leftMillis: number) {
    const context = yield* Effect.orDie(Layer.build(Layer.fresh(program(server.origin, storage()))))
    const stored = yield* session({ issuer: server.origin, refreshToken: server.grant(), leftMillis })
    yield* Effect.orDie(Context.get(context, TokenStorage.TokenStorage).put(stored.key, stored, 0))
    const auth = Context.get(context, AuthManager.AuthManager)
    const client: Client = {
      ask: Effect.map(auth.token, (tokens) => Redacted.value(tokens.accessToken)),
      askAtOnce: (callers) => {
        let got = 0
        const caller = Effect.match(auth.token, {
          onSuccess: () => {
            got += 1
          },
          onFailure: () => {}
        })
        return Effect.map(
          Effect.forEach(Array.from({ length: callers }), () => caller, { concurrency: "unbounded", discard: true }),
          () => got
        )
      }
    }
    return client
  })
