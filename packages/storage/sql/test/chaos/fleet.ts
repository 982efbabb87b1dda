/** Sessions of a strict IAM that a fleet shares, whatever its members do with them. */
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

export const clientId = "chaos"

export const keyOf = ({ issuer }: { readonly issuer: string }, family: string) =>
  SessionKey.SessionKey.make({ issuer, clientId, account: family })

/** What the IAM calls a session's family of refresh tokens, by the number of the session. */
export const familyOf = (session: number): string => `rt${session}`

/** The dialect of a member. Times are in milliseconds. */
export const iam = (options: {
  readonly issuer: string
  readonly timeLimit: number
  readonly grace: number
}) =>
  OidcIam.layer({
    issuer: options.issuer,
    clientId,
    scopes: ["read"],
    metadata: { token_endpoint: `${options.issuer}/token` },
    policy: { timeLimit: Duration.millis(options.timeLimit), reuseGrace: Duration.millis(options.grace) }
  })

/** Stores the session that each family starts with: one whose access token lives `life` milliseconds and ends at `endsAt`. */
export const seed = (
  of: { readonly issuer: string; readonly families: ReadonlyArray<string>; readonly life: number },
  endsAt: (family: string) => number
) =>
  Effect.gen(function*() {
    const stored = yield* TokenStorage.TokenStorage
    yield* Effect.forEach(of.families, (family) => {
      const key = keyOf(of, family)
      const end = endsAt(family)
      const session = Session.Session.make({
        key,
        generation: end,
        obtainedAt: end - of.life,
        durable: true,
        strategy: "browser",
        user: Option.none(),
        grant: Session.Grant.cases.RefreshToken.make({ refreshToken: Redacted.make(`${family}.0`) }),
        tokens: {
          [Selection.id(Selection.none)]: TokenSet.TokenSet.make({
            accessToken: Redacted.make(`at-${family}.0`),
            tokenType: "Bearer",
            issuedAt: DateTime.makeUnsafe(end - of.life),
            expiresAt: Option.some(DateTime.makeUnsafe(end)),
            idToken: Option.none(),
            scope: Option.none()
          })
        },
        current: Selection.none,
        dead: Option.none(),
        intent: Option.none()
      })
      return stored.put(key, session, 0)
    }, { concurrency: 8, discard: true })
  })
