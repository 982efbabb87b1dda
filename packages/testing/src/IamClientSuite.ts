/**
 * The contract that every `IamClient` keeps, as a Vitest suite.
 *
 * @since 0.1.0
 */
import * as IamClient from "@effect-authn/core/iam/IamClient"
import type * as IamError from "@effect-authn/core/iam/IamError"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Formatter from "effect/Formatter"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/**
 * What the suite needs to know of the IAM behind a dialect, and to do to it.
 *
 * - `credentials` work and belong to the account `handle`; each of `refused` does not work (a wrong password, an
 *   unknown account).
 * - `selection` is asked for at login and renewal; the issuer's default unless told.
 * - `whoami` says where the dialect's answer comes from: `route` notices a dead token, `claims` cannot.
 * - `fail` makes the next request meet a server that is `unavailable` (503), or that drops the connection (`drop`).
 * - `forget` makes the IAM forget every token and grant.
 * - `requests` is how many requests the IAM has seen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Harness<R> {
  readonly credentials: IamClient.Credentials
  readonly handle: string
  readonly refused: ReadonlyArray<IamClient.Credentials>
  readonly selection?: Selection.Selection
  readonly whoami: "route" | "claims"
  readonly fail: (fault: "unavailable" | "drop") => Effect.Effect<void, never, R>
  readonly forget: Effect.Effect<void, never, R>
  readonly requests: Effect.Effect<number, never, R>
}

/**
 * Registers the contract for a dialect. The layer is built anew for each test; time is real.
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = <R, E>(
  name: string,
  layer: Layer.Layer<IamClient.IamClient | R, E>,
  harness: Harness<R>
): void => {
  const selection = harness.selection ?? Selection.none

  const test = <A, E2>(title: string, effect: Effect.Effect<A, E2, IamClient.IamClient | R>) =>
    // A test is an entry point, and each needs an IAM of its own: the suite makes it fail and forget.
    // oxlint-disable-next-line effecttsgo/strict-effect-provide
    it.live(title, () => Effect.provide(effect, Layer.fresh(layer)))

  const sessionOf = (iam: IamClient.IamClient["Service"], issued: Session.TokenResponse): Session.Session =>
    Session.Session.make({
      key: SessionKey.SessionKey.make({ issuer: iam.issuer, clientId: iam.clientId, account: "default" }),
      generation: 1,
      durable: true,
      strategy: "password",
      user: issued.user,
      grant: issued.grant,
      tokens: { [Selection.id(selection)]: issued.tokens },
      current: selection,
      dead: Option.none(),
      intent: Option.none()
    })

  const signedIn = Effect.gen(function*() {
    const iam = yield* IamClient.IamClient
    return sessionOf(iam, yield* iam.login(harness.credentials, selection))
  })

  const reason = <A, R2>(
    effect: Effect.Effect<A, IamError.IamError, R2>
  ): Effect.Effect<IamError.IamErrorReason, A, R2> => Effect.map(Effect.flip(effect), (error) => error.reason)

  const access = (session: Session.Session): string =>
    Option.match(Session.currentToken(session), {
      onNone: () => "",
      onSome: (tokens) => Redacted.value(tokens.accessToken)
    })

  describe(`IamClient contract: ${name}`, () => {
    test(
      "names its issuer, its client and its variables",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        assert.isTrue(URL.canParse(iam.issuer))
        assert.isAbove(iam.clientId.length, 0)
        for (const variable of iam.environment) assert.match(variable, /^[A-Z][A-Z0-9_]*$/)
      })
    )

    test(
      "login answers with a token that is valid now",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const issued = yield* iam.login(harness.credentials, selection)
        assert.isTrue(TokenSet.isValid(issued.tokens, yield* DateTime.now))
        assert.isTrue(Session.isAlive(sessionOf(iam, issued), yield* DateTime.now))
      })
    )

    test(
      "login with wrong credentials is CredentialsRefused, whatever is wrong with them",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        for (const credentials of harness.refused) {
          assert.strictEqual((yield* reason(iam.login(credentials, selection)))._tag, "CredentialsRefused")
        }
      })
    )

    test(
      "renew answers with another token, which works, and with a grant that renews again",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const first = yield* signedIn
        const second = sessionOf(iam, yield* iam.renew(first, selection))
        const third = sessionOf(iam, yield* iam.renew(second, selection))
        assert.strictEqual(new Set([first, second, third].map(access)).size, 3)
        assert.deepStrictEqual([second.grant._tag, third.grant._tag], [first.grant._tag, first.grant._tag])
        assert.isTrue(Session.isAlive(third, yield* DateTime.now))
        assert.deepStrictEqual((yield* iam.whoami(third)).handle, Option.some(harness.handle))
      })
    )

    test(
      "renew of a grant that the IAM forgot is GrantDead",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const session = yield* signedIn
        yield* harness.forget
        assert.strictEqual((yield* reason(iam.renew(session, selection)))._tag, "GrantDead")
      })
    )

    test(
      "whoami says who signed in",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const user = yield* iam.whoami(yield* signedIn)
        assert.deepStrictEqual(user.handle, Option.some(harness.handle))
      })
    )

    test(
      "revoke tells the IAM, after which the token is dead, or says why it did not",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const session = yield* signedIn
        const revocation = yield* iam.revoke(session)
        if (revocation._tag === "NotRevoked") {
          assert.isAbove(revocation.reason.length, 0)
        } else if (harness.whoami === "route") {
          assert.strictEqual((yield* reason(iam.whoami(session)))._tag, "CredentialsRefused")
        }
      })
    )

    for (
      const [method, call] of [
        ["login", (iam, _session) => iam.login(harness.credentials, selection)],
        ["renew", (iam, session) => iam.renew(session, selection)]
      ] satisfies ReadonlyArray<
        [
          string,
          (
            iam: IamClient.IamClient["Service"],
            session: Session.Session
          ) => Effect.Effect<Session.TokenResponse, IamError.IamError>
        ]
      >
    ) {
      test(
        `${method} at a server that is not available is Unavailable and was not sent, and works afterwards`,
        Effect.gen(function*() {
          const iam = yield* IamClient.IamClient
          const session = yield* signedIn
          yield* harness.fail("unavailable")
          const why = yield* reason(call(iam, session))
          assert.isTrue(why._tag === "Unavailable" && why.sent === "no", Formatter.format(why))
          assert.notStrictEqual(access(sessionOf(iam, yield* call(iam, session))), access(session))
        })
      )

      test(
        `${method} at a server that drops the connection is Unavailable and may have been sent`,
        Effect.gen(function*() {
          const iam = yield* IamClient.IamClient
          const session = yield* signedIn
          yield* harness.fail("drop")
          const why = yield* reason(call(iam, session))
          assert.isTrue(why._tag === "Unavailable" && why.sent === "maybe", Formatter.format(why))
        })
      )
    }

    test(
      "adopt takes a token as it is, without a request",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const session = yield* signedIn
        const before = yield* harness.requests
        const issued = yield* iam.adopt(Redacted.make(access(session)))
        assert.strictEqual(Redacted.value(issued.tokens.accessToken), access(session))
        assert.isTrue(TokenSet.isValid(issued.tokens, yield* DateTime.now))
        assert.strictEqual(yield* harness.requests, before)
      })
    )

    test(
      "adopt refuses a token that is seen to be of no use, without a request",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const before = yield* harness.requests
        const part = (json: string) => Base64Url.encode(json)
        const expired = `${part(`{"alg":"RS256","typ":"JWT"}`)}.${part(`{"sub":"x","exp":1000}`)}.${"s".repeat(100)}`
        for (const token of [expired, "two\nlines", "caf\u00e9"]) {
          assert.strictEqual((yield* reason(iam.adopt(Redacted.make(token))))._tag, "CredentialsRefused")
        }
        assert.strictEqual(yield* harness.requests, before)
      })
    )

    test(
      "present puts the token on a request and leaves the rest of it alone",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const session = yield* signedIn
        const tokens = yield* Effect.fromOption(Session.currentToken(session))
        const request = HttpClientRequest.get("https://api.example/me", { headers: { accept: "text/plain" } })
        const presented = yield* iam.present({ tokens, login: session.obtainedAt ?? 0 }, request)
        assert.strictEqual(presented.headers["authorization"], `${tokens.tokenType} ${access(session)}`)
        assert.strictEqual(presented.headers["accept"], "text/plain")
        assert.strictEqual(presented.url, request.url)
      })
    )

    test(
      "no answer and no failure shows a secret",
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const issued = yield* iam.login(harness.credentials, selection)
        const session = sessionOf(iam, issued)
        const secrets = [access(session), ...harness.refused.map(({ password }) => Redacted.value(password))]
        if (session.grant._tag === "RefreshToken") secrets.push(Redacted.value(session.grant.refreshToken))
        const shown: Array<string> = [Formatter.format(issued), Formatter.formatJson(session)]
        const show = (error: unknown) => shown.push(Formatter.format(error), Formatter.formatJson(error), String(error))
        for (const credentials of harness.refused) show(yield* Effect.flip(iam.login(credentials, selection)))
        yield* harness.fail("unavailable")
        show(yield* Effect.flip(iam.login(harness.credentials, selection)))
        yield* harness.fail("drop")
        show(yield* Effect.flip(iam.renew(session, selection)))
        yield* harness.forget
        show(yield* Effect.flip(iam.renew(session, selection)))
        for (const secret of secrets) assert.notInclude(shown.join("\n"), secret)
      })
    )
  })
}
