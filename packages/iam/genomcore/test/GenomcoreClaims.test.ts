import { IamClient, Session } from "@effect-authn/core"
import { GenomcoreClaims, GenomcoreIam } from "@effect-authn/iam-genomcore"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { inspect } from "node:util"
import { acmeIn, jwt, layer, secret, session } from "./fixtures.ts"

const projectId = (claims: unknown, names?: ReadonlyArray<string>) =>
  GenomcoreClaims.projectId(secret(jwt(claims)), names)

describe("row 11 get_project_id", () => {
  for (
    const [title, claims, expected] of [
      ["an integer", { projectId: 42 }, 42],
      ["decimal digits", { projectId: "42" }, 42],
      ["zero", { projectId: 0 }, 0],
      ["the snake_case name", { project_id: 7 }, 7],
      ["a nested id", { project: { id: 7, slug: "FD1" } }, 7],
      ["the bare name", { project: 7 }, 7],
      ["the first present of several", { project: 1, project_id: 2, projectId: 3 }, 3],
      ["the next, where the first is null", { projectId: null, project_id: 2 }, 2],
      ["the largest safe integer", { projectId: Number.MAX_SAFE_INTEGER }, Number.MAX_SAFE_INTEGER]
    ] as const
  ) {
    it.effect(`reads ${title}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* projectId(claims), expected)
      }))
  }

  it.effect("reads a claim of the caller's naming, also one with dots in its own name", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* projectId({ "https://example.com/project": 5 }, ["https://example.com/project"]), 5)
      assert.strictEqual(yield* projectId({ scope: { project: { id: 6 } } }, ["scope.project.id"]), 6)
    }))

  it.effect("an absent claim names the claims that were tried", () =>
    Effect.gen(function*() {
      for (const claims of [{}, { projectId: null }, { constructor: 1 }]) {
        const error = yield* Effect.flip(projectId(claims, ["projectId", "project.id", "toString"]))
        assert.strictEqual(error.reason, "MissingClaim")
        for (const name of [`"projectId"`, `"project.id"`, `"toString"`]) assert.include(error.message, name)
      }
    }))

  it.effect("a claim that is no integer is invalid", () =>
    Effect.gen(function*() {
      for (const value of [1.5, "FD1", "", true, "NaN", "1e3", 2 ** 53, "9007199254740993", {}, [1]]) {
        const error = yield* Effect.flip(projectId({ projectId: value }))
        assert.strictEqual(error.reason, "InvalidClaim", JSON.stringify(value))
        assert.include(error.message, `"projectId"`)
      }
    }))

  it.effect("a token that is no JWT fails without showing it", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(GenomcoreClaims.projectId(secret("garbage-token")))
      assert.strictEqual(error._tag, "JwtError")
      assert.notInclude(inspect(error) + String(error), "garbage-token")
    }))

  // Nothing listens at that port: a request would fail.
  const iam = layer({ host: "http://127.0.0.1:1", projectIdClaims: ["pid"] })
  it.effect("of a session reads the token of the current selection, whatever the project was called", () =>
    Effect.gen(function*() {
      const genomcore = yield* GenomcoreIam.GenomcoreIam
      const iam = yield* IamClient.IamClient
      const signedIn = session(yield* iam.adopt(secret(jwt({ pid: 7 }))), acmeIn("FD1"))
      assert.strictEqual(yield* genomcore.projectId(signedIn), 7)
      assert.strictEqual(yield* genomcore.projectId(secret(jwt({ pid: 8 }))), 8)
      const error = yield* Effect.flip(genomcore.projectId(Session.update(signedIn, { tokens: {} })))
      assert.strictEqual(error._tag === "ProjectIdError" && error.reason, "MissingToken")
    }).pipe(Effect.provide(iam)))
})

describe("users", () => {
  it("reads the login answer's user, with numbers as text and the rest in its profile", () => {
    const user = Option.getOrThrow(
      GenomcoreClaims.userFrom({ id: 1, email: "ada@acme.example", platformId: 2, organizationId: 3 })
    )
    assert.strictEqual(user.id, "1")
    assert.deepStrictEqual(user.email, Option.some("ada@acme.example"))
    assert.deepStrictEqual(Redacted.value(user.profile)["organizationId"], 3)
    assert.notInclude(inspect(user, { depth: 9 }), "organizationId")
  })

  it("reads claims: user, else sub, username, email", () => {
    const id = (claims: unknown) => Option.map(GenomcoreClaims.userOf(secret(jwt(claims))), (user) => user.id)
    assert.deepStrictEqual(id({ sub: "s", email: "e" }), Option.some("s"))
    assert.deepStrictEqual(id({ sub: "s", user: { id: 9 } }), Option.some("9"))
    assert.deepStrictEqual(id({ email: "e" }), Option.some("e"))
    assert.deepStrictEqual(id({ sub: "", username: "ada" }), Option.some("ada"))
    assert.deepStrictEqual(id({ exp: 1 }), Option.none())
    assert.deepStrictEqual(GenomcoreClaims.userOf(secret("garbage")), Option.none())
  })

  it("takes nothing that is no person", () => {
    for (const value of [null, undefined, 1, "ada", [], {}, { id: null }, { id: {} }, { id: true }]) {
      assert.deepStrictEqual(GenomcoreClaims.userFrom(value), Option.none(), JSON.stringify(value))
    }
  })
})
