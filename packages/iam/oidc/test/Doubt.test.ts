/** Refusals that do not say what became of the grant: the session stays, and the provider is not asked at full pace for ever. */
import { AuthManager, Session, SessionKeeper, TokenSet, TokenStorage } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Fiber, Layer, Option, Redacted } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { sessionOf } from "./rawProvider.ts"

const issuer = "https://idp.example"

/** A session whose token ended a minute ago. */
const stored = Effect.fnUntraced(function*(rotates: false | undefined) {
  const now = yield* DateTime.now
  const session = yield* sessionOf(issuer, "", {
    ...(rotates === undefined ? {} : { rotates }),
    tokens: {
      "": TokenSet.fromAnswer({
        accessToken: Redacted.make("at-0"),
        expiresIn: 60,
        receivedAt: DateTime.subtract(now, { minutes: 2 }),
        serverTime: Option.none(),
        defaultLifetime: Duration.hours(1)
      })
    }
  })
  yield* (yield* TokenStorage.TokenStorage).put(session.key, session, 0)
  return session
})

/** A program at a provider in memory that answers what `answer` says; `sent` has the minute of each renewal. */
const program = (answer: () => Response) => {
  const sent: Array<number> = []
  const client = HttpClient.make((request) =>
    Effect.map(DateTime.now, (now) => {
      sent.push(DateTime.toEpochMillis(now) / 60_000)
      return HttpClientResponse.fromWeb(request, answer())
    })
  )
  const layer = AuthManager.layer().pipe(
    Layer.provideMerge(SessionKeeper.layer),
    Layer.provideMerge(OidcIam.layer({ issuer, clientId: "cli", metadata: { token_endpoint: `${issuer}/token` } })),
    Layer.provideMerge(TokenStorage.layerMemory),
    Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
  )
  return { sent, layer }
}

const refusals: Record<string, () => Response> = {
  "400 without a word": () => new Response(null, { status: 400 }),
  "a page of whoever stands before the provider": () =>
    new Response("<h1>Forbidden</h1>", { status: 403, headers: { "content-type": "text/html" } }),
  "a code that nobody knows": () => Response.json({ error: "forbidden_by_policy_7" }, { status: 403 })
}

describe("in doubt a session is kept, and asked for less and less often:", () => {
  for (const [name, answer] of Object.entries(refusals)) {
    for (const rotates of [undefined, false] as const) {
      it.effect(`${name}, ${rotates === false ? "with a refresh token that outlives renewals" : "under rotation"}`, () =>
        Effect.gen(function*() {
          yield* TestClock.setTime(1_000_000_000_000)
          let isOver = false
          const { layer, sent } = program(() =>
            isOver ? Response.json({ access_token: "at-1", token_type: "Bearer", expires_in: 86_400 }) : answer()
          )
          yield* Effect.gen(function*() {
            const auth = yield* AuthManager.AuthManager
            const session = yield* stored(rotates)
            for (let minute = 0; minute < 4 * 60; minute++) {
              const asking = yield* Effect.forkChild(Effect.flip(auth.token))
              yield* TestClock.adjust("1 minute")
              assert.notStrictEqual((yield* Fiber.join(asking))._tag, "ReauthenticationRequired")
            }
            assert.isBelow(sent.length, 40, "in four hours")
            assert.isAbove(sent.length, 10, "it is not given up")
            assert.isBelow(sent.at(-1)! - sent.at(-2)!, 16)
            const kept = Option.getOrThrow(yield* (yield* TokenStorage.TokenStorage).get(session.key))
            assert.isTrue(Option.isNone(kept.dead))
            assert.isTrue(Session.isSameRefreshToken(kept.grant, session.grant))
            isOver = true
            yield* TestClock.adjust("16 minutes")
            assert.strictEqual(Redacted.value((yield* auth.token).accessToken), "at-1")
          }).pipe(Effect.provide(layer))
        }))
    }
  }
})
