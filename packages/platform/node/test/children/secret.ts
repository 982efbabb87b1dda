// A session full of secrets, each of which can be looked for.
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

export const canary = "canary-8e2a"

export const keyOf = (account: string): SessionKey.SessionKey =>
  SessionKey.SessionKey.make({ issuer: `https://ada:${canary}-issuer@iam.example/realms`, clientId: "cli", account })

export const key = keyOf("default")

export const sessionOf = (generation: number, of = key, size = 2000): Session.Session =>
  Session.Session.make({
    key: of,
    generation,
    durable: true,
    strategy: `${canary}-strategy`,
    user: Option.none(),
    grant: { _tag: "RefreshToken", refreshToken: Redacted.make(`${canary}-refresh`) },
    tokens: {
      [Selection.id(Selection.none)]: TokenSet.TokenSet.make({
        accessToken: Redacted.make(`${canary}-access-${"x".repeat(size)}`),
        tokenType: "Bearer",
        issuedAt: DateTime.makeUnsafe(0),
        expiresAt: Option.none(),
        idToken: Option.none(),
        scope: Option.none()
      })
    },
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })
