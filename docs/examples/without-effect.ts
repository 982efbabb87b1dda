import { AuthManager } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeAuth } from "@effect-authn/platform-node"
import { ManagedRuntime, Redacted } from "effect"

const runtime = ManagedRuntime.make(NodeAuth.layer(OidcIam.layerConfig()))

export const fetchWithToken = async (url: string, init: RequestInit = {}): Promise<Response> => {
  const token = await runtime.runPromise(AuthManager.AuthManager.use((auth) => auth.bearer))
  const headers = new Headers(init.headers)
  headers.set("authorization", Redacted.value(token))
  return await fetch(url, { redirect: "error", ...init, headers })
}
