/** What the conformance suite starts: a client of MCP on this library, for the scenario that the environment names. */
import { LoginPrompt, TokenStorage } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { McpAuth } from "@effect-authn/mcp"
import { NodeAuth, NodeCallbackServer } from "@effect-authn/platform-node"
import { ScriptedUserAgent } from "@effect-authn/testing"
import { Effect, Layer, Option, Redacted } from "effect"
import { McpClient, McpProtocol } from "effect/ai"
import { createPrivateKey } from "node:crypto"

const url = process.argv.at(-1)!
const scenario = process.env["MCP_CONFORMANCE_SCENARIO"] ?? ""
const version = process.env["MCP_CONFORMANCE_PROTOCOL_VERSION"] ?? ""
const context = JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}")

const importKey = (pem: string, algorithm: string) =>
  crypto.subtle.importKey(
    "pkcs8",
    createPrivateKey(pem).export({ format: "der", type: "pkcs8" }),
    { name: "ECDSA", namedCurve: algorithm === "ES384" ? "P-384" : "P-256" },
    false,
    ["sign"]
  )

const options = async (): Promise<McpAuth.Options> => {
  if (scenario.includes("client-credentials-jwt")) {
    const key = await importKey(context.private_key_pem, context.signing_algorithm)
    return {
      url,
      ...McpAuth.machine({ clientId: context.client_id, authentication: { method: "private_key_jwt", key } })
    }
  }
  const secret = context.client_secret === undefined ? undefined : Redacted.make(String(context.client_secret))
  if (scenario.includes("client-credentials")) {
    return {
      url,
      ...McpAuth.machine({
        clientId: context.client_id,
        authentication: { method: "client_secret_basic", secret: secret! }
      })
    }
  }
  if (scenario.includes("wif")) {
    return {
      url,
      ...McpAuth.machine({ clientId: context.client_id, assertion: () => Redacted.make(String(context.valid_jwt)) })
    }
  }
  if (scenario.includes("enterprise")) {
    const idp = OidcIam.layer({ issuer: context.idp_issuer, clientId: context.idp_client_id })
    return {
      url,
      ...McpAuth.machine({
        clientId: context.client_id,
        authentication: { method: "client_secret_basic", secret: secret! },
        assertion: ({ issuer, resource }) =>
          OidcIam.OidcIam.use((provider) =>
            Effect.map(
              provider.exchange({
                subject: Redacted.make(String(context.idp_id_token)),
                subjectType: "id_token",
                requestedType: "id-jag",
                audience: issuer,
                resource
              }),
              ({ token }) => token
            )
          ).pipe(Effect.provide(Layer.provide(idp, NodeAuth.layerHttpClient)))
      })
    }
  }
  return {
    url,
    ...(scenario.includes("dpop") ? { dpop: true } : {}),
    clients: {
      metadataDocument: "https://conformance-test.local/client-metadata.json",
      ...(context.client_id === undefined ? {} : {
        registered: {
          clientId: context.client_id,
          ...(secret === undefined ? {} : { authentication: { method: "client_secret_basic" as const, secret } })
        }
      })
    }
  }
}

const prompt = Layer.succeed(LoginPrompt.LoginPrompt, {
  obstacle: Effect.succeedNone,
  show: () => Effect.void,
  ask: () => Effect.succeedNone
})

const program = Effect.gen(function*() {
  const auth = McpAuth.layer(yield* Effect.promise(options)).pipe(
    Layer.provide([
      NodeAuth.layerHttpClient,
      NodeAuth.layerPublicHttpClient,
      TokenStorage.layerMemory,
      NodeCallbackServer.layer(),
      ScriptedUserAgent.layerBrowser({}),
      prompt
    ])
  )
  const protocol = version === "2026-07-28" ? McpProtocol.v2026_07_28 : McpProtocol.v2025_11_25
  const layer = McpClient.layerHttp({ name: "conformance", version: "1", url, protocol }).pipe(Layer.provide(auth))
  yield* Effect.gen(function*() {
    const client = yield* McpClient.McpClient
    const [tool] = yield* client.listTools()
    if (tool !== undefined) yield* client.callTool({ tool, arguments: {} })
  }).pipe(Effect.provide(layer))
})

Effect.runPromise(program).then(
  () => process.exit(0),
  (error) => {
    console.error(Option.getOrElse(McpAuth.reasonOf(error), () => error))
    process.exit(1)
  }
)
