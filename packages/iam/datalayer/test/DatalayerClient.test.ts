import type { IamError } from "@effect-authn/core"
import { DatalayerClient } from "@effect-authn/iam-datalayer"
import { BareServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { goodToken, only, profile } from "./fixtures.ts"

const { answer, json, serve } = BareServer

const reasonOf = <A, R>(effect: Effect.Effect<A, IamError.IamError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("the other routes", () => {
  const client = (script: (seen: BareServer.Seen) => BareServer.Reply) =>
    Effect.flatMap(serve(script), ({ origin }) => DatalayerClient.make({ issuer: origin }))
  const token = Redacted.make(goodToken)
  const provided = Effect.provide(FetchHttpClient.layer)

  it.live("me", () =>
    Effect.gen(function*() {
      const iam = yield* Effect.flatMap(
        only("GET", "/me", () => json(200, { success: true, me: { ...profile, avatar_url_s: "" } })),
        ({ origin }) => DatalayerClient.make({ issuer: origin })
      )
      assert.strictEqual((yield* iam.me(token)).id, "01HADA")
    }).pipe(provided))

  it.live("auth", () =>
    Effect.gen(function*() {
      yield* (yield* client(() => answer(200, ""))).auth(token)
      const refused = yield* client(() => answer(401, ""))
      assert.strictEqual((yield* reasonOf(refused.auth(token)))._tag, "CredentialsRefused")
      const absent = yield* client(() => json(404, { detail: "Not Found" }))
      assert.strictEqual((yield* reasonOf(absent.auth(token)))._tag, "Misconfigured")
    }).pipe(provided))

  it.live("ping, in both of its shapes, without a credential", () =>
    Effect.gen(function*() {
      for (const status of ["OK", { status: "OK" }]) {
        const server = yield* only("GET", "/ping", () => json(200, { success: true, message: "healthy", status }))
        const health = yield* (yield* DatalayerClient.make({ issuer: server.origin })).ping
        assert.deepStrictEqual(health, {
          status: Option.some("OK"),
          message: Option.some("healthy"),
          version: Option.none()
        })
        assert.isUndefined(server.seen[0]!.headers["authorization"])
      }
    }).pipe(provided))

  it.live("memberships, and nothing that is none", () =>
    Effect.gen(function*() {
      const team = { type: "team", uid: "t", handle: "core", name: "Core", organization_uid: "o", roles_ss: ["owner"] }
      const iam = yield* client(() => json(200, { success: true, memberships: [team, null, "x"] }))
      const memberships = yield* iam.memberships(token)
      assert.strictEqual(memberships.length, 1)
      assert.deepStrictEqual(memberships[0]!.organizationUid, Option.some("o"))
      assert.deepStrictEqual(memberships[0]!.roles, ["owner"])

      const bad = yield* client(() => json(401, { detail: "bad token" }))
      assert.strictEqual((yield* reasonOf(bad.memberships(token)))._tag, "CredentialsRefused")
      const odd = yield* client(() => json(200, { success: true }))
      assert.strictEqual((yield* reasonOf(odd.memberships(token)))._tag, "Malformed")
    }).pipe(provided))
})
