import { type IamError, Misconfigured, Unsupported } from "@effect-authn/core/AuthError"
import * as IamHttp from "@effect-authn/core/IamHttp"
import * as RefreshPolicy from "@effect-authn/core/RefreshPolicy"
import type * as Selection from "@effect-authn/core/Selection"
import * as Effect from "effect/Effect"
import type { ClientAuthentication } from "../ClientAuthentication.ts"
import type { Options } from "../OidcIam.ts"
import type { OidcMetadata } from "../OidcMetadata.ts"

/** The options, complete and checked. */
export interface Settings {
  readonly issuer: string
  readonly clientId: string
  readonly clientAuthentication: ClientAuthentication
  readonly scopes: ReadonlyArray<string>
  readonly audience: string | undefined
  readonly resource: string | undefined
  readonly prompt: string | undefined
  readonly parameters: { readonly [name: string]: string }
  readonly metadata: OidcMetadata | undefined
  readonly environment: ReadonlyArray<string>
  readonly policy: RefreshPolicy.RefreshPolicy
}

export const complete = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Settings, IamError> {
  yield* Effect.fromResult(IamHttp.endpoint(options.issuer))
  if (options.clientId === "") {
    return yield* IamHttp.error(
      { issuer: options.issuer, method: "configure" },
      new Misconfigured({ detail: "the client id is empty: register a client at the provider and give its id" })
    )
  }
  return {
    issuer: options.issuer,
    clientId: options.clientId,
    clientAuthentication: options.clientAuthentication ?? { method: "none" },
    scopes: options.scopes ?? ["openid", "profile", "email", "offline_access"],
    audience: options.audience,
    resource: options.resource,
    prompt: options.prompt,
    parameters: options.parameters ?? {},
    metadata: options.metadata,
    environment: options.environment ?? [],
    policy: { ...RefreshPolicy.standard, ...options.policy }
  }
})

/** What a request says of the access token that it is for; the grant is asked for everything, a renewal may narrow. */
export const target = Effect.fnUntraced(function*(
  settings: Settings,
  selection: Selection.Selection,
  method: string,
  scopes: ReadonlyArray<string>
): Effect.fn.Return<{ readonly [name: string]: string }, IamError> {
  if (selection.organization !== undefined || selection.project !== undefined) {
    return yield* IamHttp.error(
      { issuer: settings.issuer, method },
      new Unsupported({ detail: "OpenID Connect knows no organizations and projects: select a resource or a scope" })
    )
  }
  const scope = [...new Set([...scopes, ...selection.scope?.split(" ") ?? []])].join(" ")
  const resource = selection.resource ?? settings.resource
  return {
    ...(scope === "" ? {} : { scope }),
    ...(resource === undefined ? {} : { resource }),
    ...(settings.audience === undefined ? {} : { audience: settings.audience })
  }
})
