import { IamClient, Selection, ServiceTokens, type Session, TokenStorage } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { RestPolicy, Vault, VaultServer } from "@effect-authn/vault"
import { Context, Effect, Layer, Logger, Redacted } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import * as Crypto from "node:crypto"

export const issuer = "https://one.example"
export const clientId = "service"

export const sha256 = (text: string) => Crypto.createHash("sha256").update(text).digest("base64url")

/** A vault behind a handler of web requests, as any program can call it. Time is real. */
export const world = Effect.fnUntraced(function*(
  options?: VaultServer.Options,
  iamOptions?: Parameters<typeof ScriptedIam.layer>[0],
  changes?: Partial<Vault.Vault["Service"]>
) {
  const iam = yield* Layer.build(
    ScriptedIam.layer({ issuer, clientId, rotation: "strict", lifetime: "1 hour", ...iamOptions })
  )
  const stored = yield* Layer.build(Layer.provide(TokenStorage.layerMemory, RestPolicy.layer()))
  const providers = [Layer.succeed(IamClient.IamClient, Context.get(iam, IamClient.IamClient))]
  const vault = yield* Layer.build(Layer.provide(Vault.layer({ providers }), Layer.succeedContext(stored)))
  const tokens = yield* Layer.build(ServiceTokens.layerMemory)
  const { dispose, handler } = HttpRouter.toWebHandler(
    VaultServer.layer(options).pipe(
      Layer.provide([
        Layer.succeed(Vault.Vault, Vault.Vault.of({ ...Context.get(vault, Vault.Vault), ...changes })),
        Layer.succeedContext(tokens)
      ]),
      Layer.provide(HttpServer.layerServices),
      Layer.provideMerge(Logger.layer([]))
    ),
    { disableLogger: true }
  )
  yield* Effect.addFinalizer(() => Effect.promise(dispose))
  const service = Context.get(tokens, ServiceTokens.ServiceTokens)
  const send = (method: string, path: string, request?: {
    readonly token?: Redacted.Redacted | string | undefined
    readonly body?: unknown
    readonly headers?: Record<string, string>
  }) =>
    Effect.promise(async () => {
      const { body, token } = request ?? {}
      const response = await handler(
        new Request(`http://vault.test${path}`, {
          method,
          headers: {
            ...(body === undefined ? {} : { "content-type": "application/json" }),
            ...(token === undefined
              ? {}
              : { authorization: `Bearer ${typeof token === "string" ? token : Redacted.value(token)}` }),
            ...request?.headers
          },
          ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
        })
      )
      const text = await response.text()
      return {
        status: response.status,
        text,
        header: (name: string) => response.headers.get(name),
        json: () => JSON.parse(text) as Record<string, any>
      }
    })
  const all = yield* service.create({ name: "app", rights: ["token", "sessions:write", "sessions:read"] })
  const client = Context.get(iam, IamClient.IamClient)
  const issued = client.login({ _tag: "Password", handle: "ada", password: ScriptedIam.password }, Selection.none)
  /** What the IAM answered, as a body of PUT /sessions. */
  const answerOf = (account: string, response: Session.TokenResponse) => ({
    issuer,
    client: clientId,
    account,
    access_token: Redacted.value(response.tokens.accessToken),
    expires_in: 3600,
    ...(response.grant._tag === "RefreshToken" ? { refresh_token: Redacted.value(response.grant.refreshToken) } : {})
  })
  const put = (account: string) =>
    Effect.flatMap(issued, (response) => send("PUT", "/sessions", { token: all, body: answerOf(account, response) }))
  return {
    handler,
    send,
    put,
    all,
    service,
    issued,
    answerOf,
    vault: Context.get(vault, Vault.Vault),
    iam: Context.get(iam, ScriptedIam.ScriptedIam)
  }
})

export const asked = (account: string, more: object = {}) => ({ issuer, client: clientId, account, ...more })
