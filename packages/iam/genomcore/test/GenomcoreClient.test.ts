import { IamClient, Selection, Session, TokenSet } from "@effect-authn/core"
import { GenomcoreIam } from "@effect-authn/iam-genomcore"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Option, Redacted } from "effect"
import {
  acme,
  acmeIn,
  against,
  bodies,
  bodyOf,
  credentials,
  held,
  jwt,
  layer,
  login,
  ok,
  pair,
  refreshTokenOf,
  refusal,
  renew,
  secret,
  session,
  token
} from "./fixtures.ts"

const { answer, json, serve } = BareServer

describe("row 9 login", () => {
  it.live("sends exactly username, password and organization, and gets the pair", () =>
    against(ok, ({ seen }) =>
      Effect.gen(function*() {
        const issued = yield* login()
        assert.strictEqual(Redacted.value(issued.tokens.accessToken), token)
        assert.strictEqual(refreshTokenOf(issued), "r-1")
        assert.strictEqual(seen[0]?.line, "POST /api/v1/auth/login HTTP/1.1")
        assert.strictEqual(seen[0]?.headers["content-type"], "application/json")
        assert.strictEqual(seen[0]?.headers["accept"], "application/json")
        assert.isUndefined(seen[0]?.headers["authorization"])
        assert.deepStrictEqual(bodies(seen), [{ username: "ada", password: "correct horse", organization: "acme" }])
      })))

  it.live("names the project only where one is asked for", () =>
    against(ok, ({ seen }) =>
      Effect.gen(function*() {
        yield* login(acmeIn("FD1"))
        yield* login(Selection.make({ organization: "acme", project: "" }))
        assert.deepStrictEqual(
          bodies(seen).map((body) => body["project"]),
          ["FD1", undefined]
        )
      })))

  it.live("the bare pair: ids as text, null and empty project left out, nothing else kept", () =>
    against(ok, ({ seen }) =>
      Effect.gen(function*() {
        const genomcore = yield* GenomcoreIam.GenomcoreIam
        const input = { username: "ada", password: secret("pw"), organizationId: 3 }
        const found = yield* genomcore.login({ ...input, projectId: 12 })
        yield* genomcore.login({ ...input, projectId: null })
        yield* genomcore.login({ ...input, projectId: "" })
        assert.deepStrictEqual(Object.keys(found).sort(), ["refreshToken", "token"])
        assert.strictEqual(Redacted.value(found.token), token)
        assert.strictEqual(Redacted.value(found.refreshToken), "r-1")
        const organization = { username: "ada", password: "pw", organization: "3" }
        assert.deepStrictEqual(bodies(seen), [{ ...organization, project: "12" }, organization, organization])
      })))

  it.live("200 will do, other spellings too, unknown keys are ignored, and the user is read", () =>
    against(
      () =>
        json(200, {
          access_token: token,
          refresh_token: "r-2",
          token: null,
          extra: [1],
          user: { id: 1, email: "ada@acme.example", platformId: 2, organizationId: 3, more: null }
        }),
      () =>
        Effect.gen(function*() {
          const issued = yield* login()
          assert.strictEqual(Redacted.value(issued.tokens.accessToken), token)
          assert.strictEqual(refreshTokenOf(issued), "r-2")
          const user = Option.getOrThrow(issued.user)
          assert.deepStrictEqual([user.id, user.handle, user.email], [
            "1",
            Option.some("ada"),
            Option.some("ada@acme.example")
          ])
        })
    ))

  it.live("an answer without a user: the claims say who it is, else the name that was signed in with", () =>
    against(
      (_, index) => json(201, { ...pair, token: index === 0 ? token : "opaque", user: "x" }),
      () =>
        Effect.gen(function*() {
          assert.strictEqual(Option.getOrThrow((yield* login()).user).id, "1")
          assert.strictEqual(Option.getOrThrow((yield* login()).user).id, "ada")
        })
    ))

  it.live("a password travels byte for byte", () =>
    against(ok, ({ seen }) =>
      Effect.gen(function*() {
        const passwords = ["  pässwörd 🔑 ", " ", `"\\\u0000`]
        for (const password of passwords) yield* login(acme, password)
        assert.deepStrictEqual(bodies(seen).map((body) => body["password"]), passwords)
      })))

  it.live("logins at the same time are independent", () =>
    against(
      (seen) => json(201, { token, refreshToken: bodyOf(seen)["project"] }),
      () =>
        Effect.gen(function*() {
          const names = Array.from({ length: 10 }, (_, index) => `P${index}`)
          const all = yield* Effect.forEach(names, (name) => login(acmeIn(name)), { concurrency: "unbounded" })
          assert.deepStrictEqual(all.map(refreshTokenOf), names)
        })
    ))

  it.live("the environment says which host, and the parameters which path", () =>
    Effect.gen(function*() {
      const prod = yield* serve(ok)
      const dev = yield* serve(ok)
      yield* Effect.provide(
        login(),
        layer({
          environments: { prod: prod.origin, dev: dev.origin },
          env: "dev",
          paths: { login: "/api/v1/frontdesk/login" }
        })
      )
      assert.strictEqual(prod.seen.length, 0)
      assert.strictEqual(dev.seen[0]?.line, "POST /api/v1/frontdesk/login HTTP/1.1")
    }))

  it.live("blank username, password or organization is refused without a request, and the message says what to do", () =>
    against(ok, ({ seen }) =>
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const genomcore = yield* GenomcoreIam.GenomcoreIam
        const input = { username: "ada", password: secret("pw"), organizationId: "acme" }
        const reasons = [
          yield* refusal(genomcore.login({ ...input, username: "" })),
          yield* refusal(genomcore.login({ ...input, username: "\t " })),
          yield* refusal(genomcore.login({ ...input, password: secret("") })),
          yield* refusal(genomcore.login({ ...input, organizationId: " " })),
          yield* refusal(iam.login(credentials(), Selection.none), "correct horse")
        ]
        assert.deepStrictEqual(
          reasons.map((reason) => [reason._tag, /username|password|organization/.exec(reason.message)?.[0]]),
          [
            ["CredentialsRefused", "username"],
            ["CredentialsRefused", "username"],
            ["CredentialsRefused", "password"],
            ["Misconfigured", "organization"],
            ["Misconfigured", "organization"]
          ]
        )
        assert.strictEqual(seen.length, 0)
      })))

  it.live("401 and 404 are one kind in the same words, with JSON or nothing in the body", () => {
    const refusals = [
      json(401, { message: "Wrong password", statusCode: 401 }),
      json(404, { message: "User ada not found", statusCode: 404 }),
      answer(401, "", {}),
      answer(404, "", {})
    ]
    return against((_, index) => refusals[index]!, () =>
      Effect.gen(function*() {
        const messages = new Set<string>()
        for (const _ of refusals) {
          const reason = yield* refusal(login(), "correct horse")
          assert.strictEqual(reason._tag, "CredentialsRefused")
          messages.add(reason.message)
        }
        assert.strictEqual(messages.size, 1)
      }))
  })

  it.live("a 404 that names the path is a route that is not there", () =>
    against(
      () => json(404, { message: "Cannot POST /api/v1/auth/login", statusCode: 404 }),
      () =>
        Effect.gen(function*() {
          const reason = yield* refusal(login(), "correct horse")
          assert.strictEqual(reason._tag, "Misconfigured")
          assert.include(reason.message, "/api/v1/auth/login")
        })
    ))

  it.live("422 shows the details, without the password that the server echoes", () =>
    against(
      () =>
        json(422, {
          message: "Validation failed",
          statusCode: 422,
          details: ["organization must be a code", `password "correct horse" has a space`]
        }),
      () =>
        Effect.gen(function*() {
          const reason = yield* refusal(login(), "correct horse")
          assert.strictEqual(reason._tag, "Misconfigured")
          assert.include(reason.message, "organization must be a code")
        })
    ))

  it.live("an answer without a refresh token is no login", () =>
    against(() => json(201, { token }), () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* refusal(login(), "correct horse", token))._tag, "Malformed")
      })))
})

describe("row 12 refresh", () => {
  it.live("sends exactly the two tokens and no header, and both are replaced", () =>
    against(ok, ({ seen }) =>
      Effect.gen(function*() {
        const issued = yield* renew()
        assert.strictEqual(seen[0]?.line, "POST /api/v1/auth/refresh-token HTTP/1.1")
        assert.isUndefined(seen[0]?.headers["authorization"])
        assert.deepStrictEqual(bodies(seen), [{ token, refreshToken: "r-0" }])
        assert.strictEqual(Redacted.value(issued.tokens.accessToken), token)
        assert.strictEqual(refreshTokenOf(issued), "r-1")
      })))

  it.live("row 4 refresh_token: an answer that brings none keeps the old one", () =>
    against(
      (_, index) => json(201, index === 0 ? { token } : { token, refreshToken: "" }),
      () =>
        Effect.gen(function*() {
          assert.strictEqual(refreshTokenOf(yield* renew()), "r-0")
          assert.strictEqual(refreshTokenOf(yield* renew()), "r-0")
        })
    ))

  it.live("names a project that is asked for, at the path of the parameters", () =>
    against(ok, ({ seen }) =>
      Effect.gen(function*() {
        yield* renew(acmeIn("B"))
        assert.strictEqual(seen[0]?.line, "POST /refresh HTTP/1.1")
        assert.deepStrictEqual(bodies(seen), [{ token, refreshToken: "r-0", project: "B" }])
      }), { paths: { refresh: "/refresh" } }))

  it.live("an expired access token is sent all the same", () => {
    const expired = jwt({ exp: 1 })
    return against(ok, ({ seen }) =>
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const current = yield* held({
          tokens: TokenSet.fromAnswer({
            accessToken: secret(expired, "access_token"),
            receivedAt: DateTime.makeUnsafe(0),
            serverTime: Option.none(),
            defaultLifetime: Duration.infinity
          })
        })
        yield* iam.renew(current, acme)
        assert.deepStrictEqual(bodies(seen), [{ token: expired, refreshToken: "r-0" }])
      }))
  })

  it.live("the user of the session stays known by name", () =>
    against(
      (_, index) => json(201, index === 0 ? { ...pair, user: { id: 1, email: "new@acme.example" } } : pair),
      () =>
        Effect.gen(function*() {
          const iam = yield* IamClient.IamClient
          const signedIn = session(yield* iam.login(credentials(), acme), acme)
          const renewed = yield* iam.renew(signedIn, acme)
          assert.deepStrictEqual(Option.flatMap(renewed.user, (user) => user.handle), Option.some("ada"))
        })
    ))

  it.live("without a refresh token, or without an access token, nothing is sent", () =>
    against(ok, ({ seen }) =>
      Effect.gen(function*() {
        const iam = yield* IamClient.IamClient
        const current = yield* held()
        const noGrant = yield* refusal(
          iam.renew(Session.update(current, { grant: Session.Grant.make({ _tag: "None" }) }), acme)
        )
        const noToken = yield* refusal(iam.renew(Session.update(current, { tokens: {} }), acme))
        assert.deepStrictEqual([noGrant._tag, noToken._tag], ["Unsupported", "Unsupported"])
        assert.include(noGrant.message, "sign in again")
        assert.strictEqual(seen.length, 0)
      })))

  it.live("401 in the IAM's own words kills the grant", () => {
    const refusals = [
      json(401, { message: "refresh token r-0 was used", statusCode: 401 }),
      answer(401, "", {})
    ]
    return against((_, index) => refusals[index]!, () =>
      Effect.gen(function*() {
        const told = yield* refusal(renew(), "r-0", token)
        assert.strictEqual(told._tag, "GrantDead")
        assert.include(told.message, "was used")
        assert.strictEqual((yield* refusal(renew(), "r-0", token))._tag, "GrantDead")
      }))
  })

  it.live("a project that is refused or not there leaves the grant alone", () =>
    against(
      (_, index) =>
        index === 0
          ? json(403, { message: "not your project", statusCode: 403 })
          : json(404, { message: "no such project", statusCode: 404 }),
      () =>
        Effect.gen(function*() {
          const reasons = [yield* refusal(renew(acmeIn("B"))), yield* refusal(renew(acmeIn("B")))]
          assert.deepStrictEqual(reasons.map(({ _tag }) => _tag), ["SelectionRefused", "SelectionRefused"])
          assert.include(reasons[0]?.message, "not your project")
          assert.strictEqual((yield* refusal(renew()))._tag, "Misconfigured")
        })
    ))
})
