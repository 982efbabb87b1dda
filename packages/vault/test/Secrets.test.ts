import { AuthManager, IamClient, IamError, ServiceTokens, SessionKeeper, TokenStorage } from "@effect-authn/core"
import { ScriptedIam, Witness } from "@effect-authn/testing"
import { RestPolicy, Vault, VaultClient, VaultServer } from "@effect-authn/vault"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import { inspect } from "node:util"
import { asked, clientId, issuer, sha256 } from "./world.ts"

const canary = "canary-7c2e"

it.live("no token of a session or a service is in a log, a trace, an error or a note, whatever goes wrong", () => {
  const witness = Witness.make()
  const seen: Array<string> = []
  const note = (value: unknown) => void seen.push(inspect(value, { depth: null }), String(value))
  return Effect.gen(function*() {
    const secrets = yield* witness.watch(Effect.gen(function*() {
      const iam = yield* Layer.build(ScriptedIam.layer({ issuer, clientId, tokens: "opaque" }))
      const scripted = Context.get(iam, ScriptedIam.ScriptedIam)
      const stored = yield* Layer.build(Layer.provide(TokenStorage.layerMemory, RestPolicy.layer()))
      const vault = yield* Layer.build(
        Layer.provide(
          Vault.layer({ providers: [Layer.succeed(IamClient.IamClient, Context.get(iam, IamClient.IamClient))] }),
          Layer.succeedContext(stored)
        )
      )
      const tokens = yield* Layer.build(ServiceTokens.layerMemory)
      const service = Context.get(tokens, ServiceTokens.ServiceTokens)
      const all = yield* service.create({ name: "app", rights: ["token", "sessions:write", "sessions:read"] })
      const served = yield* Layer.build(
        HttpRouter.serve(VaultServer.layer({ audit: (event) => Effect.sync(() => note(event)) })).pipe(
          Layer.provide(Layer.succeedContext(Context.merge(vault, tokens))),
          Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
        )
      )
      const url = HttpServer.formatAddress(Context.get(served, HttpServer.HttpServer).address)
      const send = (method: string, route: string, body: unknown, token = Redacted.value(all)) =>
        Effect.promise(async () => {
          const answer = await fetch(`${url}${route}`, {
            method,
            headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
            body: typeof body === "string" ? body : JSON.stringify(body)
          })
          return { status: answer.status, text: await answer.text() }
        })
      const secret = { access_token: `${canary}-at`, refresh_token: `${canary}-rt`, expires_in: 3600 }
      const put = yield* send("PUT", "/sessions", { ...asked("ada"), ...secret })
      seen.push(put.text)
      assert.strictEqual(put.status, 200)
      yield* send("POST", "/token", asked("ada"))
      // the IAM echoes what it was sent, is away, answers nonsense, and refuses
      for (
        const reason of [
          new IamError.Malformed({ detail: "nonsense" }),
          new IamError.Unavailable({ sent: "maybe", detail: "away" }),
          new IamError.Misconfigured({ detail: "the client is unknown" }),
          new IamError.GrantDead({ detail: "invalid_grant" })
        ]
      ) {
        yield* send("PUT", "/sessions", { ...asked("ada"), ...secret })
        yield* scripted.failNext("renew", { reason, times: 1 })
        seen.push((yield* send("POST", "/token", asked("ada", { refused: sha256(secret.access_token) }))).text)
      }
      // what is wrong with a request is said without it
      for (
        const body of [
          `{"access_token":"${canary}-at"`,
          { ...asked("ada"), access_token: `${canary} at` },
          { ...asked("ada"), access_token: { is: `${canary}-at` } },
          { ...asked("ada"), ...secret, refresh_token: `${canary}\nrt` },
          { ...asked("ada"), ...secret, token_type: `${canary} type` },
          { ...asked(canary.repeat(500)), ...secret }
        ]
      ) {
        const refused = yield* send("PUT", "/sessions", body)
        assert.strictEqual(refused.status, 400)
        seen.push(refused.text)
      }
      seen.push((yield* send("POST", "/token", asked("ada"), `${canary}-stranger`)).text)
      seen.push(yield* send("GET", `/sessions`, undefined as never).pipe(Effect.exit, Effect.map(inspect)))

      yield* send("PUT", "/sessions", { ...asked("ada"), ...secret })
      const client = yield* Layer.build(
        AuthManager.layer({ account: "ada" }).pipe(
          Layer.provideMerge(SessionKeeper.layer),
          Layer.provide(TokenStorage.layerMemory),
          Layer.provideMerge(VaultClient.layer({ url, token: all, issuer, clientId })),
          Layer.provide(FetchHttpClient.layer)
        )
      )
      const auth = Context.get(client, AuthManager.AuthManager)
      note(yield* Effect.provideContext(auth.login(VaultClient.strategy(), { store: false }), client))
      yield* service.revoke("app")
      for (const failing of [Effect.asVoid(auth.refresh()), Effect.asVoid(auth.export), Effect.asVoid(auth.whoami)]) {
        const exit = yield* Effect.exit(failing)
        assert.isTrue(Exit.isFailure(exit))
        note(exit)
        if (Exit.isFailure(exit)) seen.push(Cause.pretty(exit.cause))
      }
      return [canary, Redacted.value(all)]
    }))
    const everything = [...seen, ...witness.logs, witness.traced()].join("\n")
    assert.include(everything, "ada")
    assert.include(witness.traced(), "http.route")
    assert.include(witness.traced(), "VaultClient.renew")
    for (const each of secrets) assert.notInclude(everything, each)
  })
})
