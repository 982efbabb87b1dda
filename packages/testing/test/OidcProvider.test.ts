import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Path, Redacted, Schema } from "effect"
import { FetchHttpClient } from "effect/http"
import { createHash } from "node:crypto"
import { post, send } from "./fixtures.ts"

const Tokens = Schema.Struct({ access_token: Schema.String, refresh_token: Schema.String })

const form = (url: string, fields: Record<string, string>) =>
  Effect.tryPromise(() =>
    fetch(url, { method: "POST", body: new URLSearchParams(fields) }).then(async (response) => ({
      status: response.status,
      json: await response.json()
    }))
    // of a server that went, `fetch` still holds a connection
  ).pipe(Effect.retry({ times: 1 }))

/** A person signs in with client `cli`, as RFC 6749, section 4.1, has it. */
const signIn = Effect.gen(function*() {
  const { issuer } = yield* OidcProvider.OidcProvider
  const verifier = "v".repeat(43)
  const redirect = "http://127.0.0.1:1/callback"
  const query = new URLSearchParams({
    client_id: "cli",
    response_type: "code",
    redirect_uri: redirect,
    scope: "openid offline_access",
    prompt: "consent",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256"
  })
  const page = yield* ScriptedUserAgent.make().visit(`${issuer}/auth?${query}`, {
    answers: { login: "ada", password: "x" },
    stopAt: (url) => url.pathname === "/callback"
  })
  const code = new URL(page.url).searchParams.get("code") ?? ""
  const answer = yield* form(`${issuer}/token`, {
    grant_type: "authorization_code",
    client_id: "cli",
    redirect_uri: redirect,
    code,
    code_verifier: verifier
  })
  return yield* Schema.decodeUnknownEffect(Tokens)(answer.json)
})

const refresh = (token: string) =>
  OidcProvider.OidcProvider.use(({ issuer }) =>
    form(`${issuer}/token`, { grant_type: "refresh_token", client_id: "cli", refresh_token: token })
  )

const renewed = (token: string) =>
  Effect.flatMap(refresh(token), ({ json }) => Schema.decodeUnknownEffect(Tokens)(json))

const provided = (options?: OidcProvider.Options, place: OidcProvider.Place = {}) =>
  Effect.provide(Layer.merge(OidcProvider.layerAt(place, options), FetchHttpClient.layer))

describe("the OpenID provider", () => {
  it.live("keeps, rotates, or takes a used refresh token for a stolen one", () =>
    Effect.gen(function*() {
      const outcomes = (options: OidcProvider.Options) =>
        Effect.gen(function*() {
          const first = (yield* signIn).refresh_token
          const second = (yield* renewed(first)).refresh_token
          const again = (yield* refresh(first)).status
          return [first === second, again, (yield* refresh(second)).status]
        }).pipe(provided(options))
      assert.deepStrictEqual(yield* outcomes({ rotation: "none" }), [true, 200, 200])
      assert.deepStrictEqual(yield* outcomes({ rotation: "rotate" }), [false, 400, 200])
      assert.deepStrictEqual(yield* outcomes({ rotation: "strict" }), [false, 400, 400])
      assert.deepStrictEqual(yield* outcomes({ rotation: "strict", reuseGrace: "1 minute" }), [false, 200, 200])
    }))

  it.live("is steered while it runs, as the simulator is", () =>
    Effect.gen(function*() {
      const { issuer } = yield* OidcProvider.OidcProvider
      const { refresh_token } = yield* signIn
      const knobs = (changes: object) => post(`${issuer}/__simulator/knobs`, changes)
      const changed = yield* knobs({ rotation: "none", tokenLifetime: "7 seconds", fail: ["token:503:1"] })
      assert.deepStrictEqual([changed.status, changed.json.rotation, changed.json.fail], [200, "none", ["token:503:1"]])
      assert.strictEqual((yield* refresh(refresh_token)).status, 503)
      const answer = yield* refresh(refresh_token)
      assert.deepStrictEqual([answer.status, answer.json.expires_in], [200, 7])
      assert.strictEqual((yield* knobs({ fail: ["nowhere:503:1"], colour: 1 })).status, 400)
      const { json: ledger } = yield* send(`${issuer}/__simulator/ledger`)
      assert.deepStrictEqual(
        ledger.filter(({ grant }: { grant?: string }) => grant === "refresh_token").map(
          ({ note, status }: { note?: string; status: number }) => [status, note]
        ),
        [[503, "fault 503"], [200, undefined]]
      )
      yield* post(`${issuer}/__simulator/reset`, {})
      assert.strictEqual((yield* refresh(refresh_token)).status, 400)
    }).pipe(provided()))

  it.live("with a state file, sessions go on after a restart", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const state = (yield* Path.Path).join(yield* fs.makeTempDirectoryScoped(), "state.json")
      const first = yield* Effect.gen(function*() {
        const { refresh_token } = yield* signIn
        const { issuer, secretClient } = yield* OidcProvider.OidcProvider
        return { port: Number(new URL(issuer).port), refresh_token, secret: Redacted.value(secretClient.secret) }
      }).pipe(provided({}, { state }))
      yield* Effect.gen(function*() {
        const { secretClient } = yield* OidcProvider.OidcProvider
        assert.strictEqual(Redacted.value(secretClient.secret), first.secret)
        yield* renewed(first.refresh_token)
        // what was used before the restart is known as used after it
        assert.strictEqual((yield* refresh(first.refresh_token)).status, 400)
      }).pipe(provided({}, { state, port: first.port }))
      assert.strictEqual((yield* fs.stat(state)).mode & 0o777, 0o600)

      yield* fs.writeFileString(state, "not ours")
      const refused = yield* Effect.flip(signIn.pipe(provided({}, { state })))
      assert.include(String(refused), "holds no state of this simulator")
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)))
})
