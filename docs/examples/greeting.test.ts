import { AuthManager, AuthStrategy, SessionKeeper, TokenStorage } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { greeting } from "./greeting.ts"

// An API that greets everyone who comes with a token.
const api = HttpClient.make((request) =>
  Effect.succeed(HttpClientResponse.fromWeb(
    request,
    request.headers["authorization"] === undefined ? new Response(null, { status: 401 }) : new Response("hello")
  ))
)

// The program's layers, with an IAM that speaks to no server, a storage in memory, and the test's clock.
const layers = AuthManager.layer().pipe(
  Layer.provideMerge(SessionKeeper.layer),
  Layer.provideMerge([ScriptedIam.layer({ lifetime: "1 hour" }), TokenStorage.layerMemory]),
  Layer.merge(Layer.succeed(HttpClient.HttpClient, api))
)

it.effect("the greeting is the same a day later, and the IAM saw no second password", () =>
  Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    const iam = yield* ScriptedIam.ScriptedIam
    yield* auth.login(AuthStrategy.password({ handle: "ada", password: ScriptedIam.password }))
    assert.strictEqual(yield* greeting, "hello")
    yield* TestClock.adjust("24 hours")
    assert.strictEqual(yield* greeting, "hello")
    assert.strictEqual(yield* iam.count("login"), 1)
    assert.isAtLeast(yield* iam.count("renew"), 24)
  }).pipe(Effect.provide(layers)))

it.effect("nobody is greeted who is not signed in", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(greeting)
    assert.strictEqual(error._tag, "NoCredentials")
  }).pipe(Effect.provide(layers)))
