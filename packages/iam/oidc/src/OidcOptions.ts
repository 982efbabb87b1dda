/**
 * What a caller sets of an OpenID provider, checked, and where it comes from in the environment.
 *
 * @since 0.1.0
 */
import { type IamError, Misconfigured, Unsupported } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import type * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Variable from "@effect-authn/core/Variable"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ClientAuthentication } from "./ClientAuthentication.ts"
import type { OidcMetadata } from "./OidcMetadata.ts"
import type { TokenSource } from "./TokenSource.ts"

/**
 * - `issuer`: the provider's name for itself, to the letter: a slash at the end makes a difference.
 * - `clientId`, `clientAuthentication` (default `none`): as registered at the provider.
 * - `scopes`: by default `openid`, `profile`, `email` and `offline_access`. Without `openid` no id_token is asked for.
 * - `resource` (RFC 8707) or `audience` (Auth0's word): which API the access tokens are for. It is the selection of a caller
 *   that makes none, so that a program which shares its session with others is given no token that was made for them.
 * - `prompt`: how insistent the provider's page is. By default `consent` where `offline_access` is asked for, since
 *   providers may not grant it without; an empty text sends none.
 * - `parameters`: what else the provider's page, or its device codes, are asked with.
 * - `tokenType`: the word that this provider writes as the `token_type` of its bearer tokens, to the letter, where that is
 *   not `Bearer` (`BearerToken`, `JWT`). APIs are shown `Bearer` all the same (RFC 6750).
 * - `idTokenAlgorithm`: what the client is registered with for its id_tokens (`id_token_signed_response_alg`): then no other
 *   is taken. By default every one with a public key. `HS256`, `HS384` and `HS512` are checked with the client's secret,
 *   and taken only where they are named here.
 * - `metadata`: endpoints of a provider that publishes none, or not all of them. They add to what it publishes, and where
 *   both name one, these count. Nothing is discovered for what they name.
 * - `environment`: the variables that may hold an access token; none unless told.
 * - `dpop` (default false): whether the tokens of a login are bound to a key that is made for it (RFC 9449). A provider that
 *   does not bind them is refused. A session that is bound stays so.
 * - `par` (default false): whether the parameters of the provider's page are told beforehand (RFC 9126). Where the
 *   provider's metadata says that they have to be, they are.
 * - `workload`: the `audience` under which this provider knows itself in the tokens of platforms, and the `grant` that takes
 *   them, as `OidcStrategy.workload` has them. With it, `login()` without a strategy signs in as the program where a
 *   `WorkloadIdentity` is in the context. Without it, no platform is asked for a token.
 * - `sources`: where the tokens of sessions come from that an earlier login has made from such a source, by its name. A login
 *   in this program brings its own.
 * - `policy`: what differs from the standard policy. `timeLimit` bounds every request.
 *
 * @category models
 * @since 0.1.0
 */
export interface OidcOptions {
  readonly issuer: string
  readonly clientId: string
  readonly clientAuthentication?: ClientAuthentication | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
  readonly audience?: string | undefined
  readonly resource?: string | undefined
  readonly prompt?: string | undefined
  readonly parameters?: { readonly [name: string]: string } | undefined
  readonly tokenType?: string | undefined
  readonly idTokenAlgorithm?: JwtCodec.Algorithm | undefined
  readonly metadata?: OidcMetadata | undefined
  readonly environment?: ReadonlyArray<string> | undefined
  readonly dpop?: boolean | undefined
  readonly par?: boolean | undefined
  readonly workload?: {
    readonly audience: string
    readonly grant?: "jwt-bearer" | "token-exchange" | undefined
  } | undefined
  readonly sources?: ReadonlyArray<TokenSource> | undefined
  readonly policy?: Partial<RefreshPolicy.RefreshPolicy> | undefined
}

const environment = (): Config.Config<OidcOptions> =>
  Config.all({
    issuer: Variable.renamed("AUTHN_ISSUER", "OIDC_ISSUER", Variable.text),
    clientId: Variable.renamed("AUTHN_CLIENT_ID", "OIDC_CLIENT_ID", Variable.text),
    secret: Config.option(Variable.renamed("AUTHN_CLIENT_SECRET", "OIDC_CLIENT_SECRET", Variable.secret)),
    scopes: Config.option(Variable.renamed("AUTHN_SCOPE", "OIDC_SCOPES", Variable.text)),
    audience: Config.option(Variable.renamed("AUTHN_AUDIENCE", "OIDC_AUDIENCE", Variable.text)),
    resource: Config.option(Variable.renamed("AUTHN_RESOURCE", "OIDC_RESOURCE", Variable.text))
  }).pipe(Config.map(({ audience, clientId, issuer, resource, scopes, secret }) => ({
    issuer,
    clientId,
    clientAuthentication: Option.match(secret, {
      onNone: (): ClientAuthentication => ({ method: "none" }),
      onSome: (secret) => ({ method: "client_secret", secret })
    }),
    scopes: Option.getOrUndefined(Option.map(scopes, (scopes) => scopes.split(/\s+/).filter(Boolean))),
    audience: Option.getOrUndefined(audience),
    resource: Option.getOrUndefined(resource)
  })))

/**
 * `AUTHN_ISSUER`, `AUTHN_CLIENT_ID`, and where they are set `AUTHN_CLIENT_SECRET` (sent as `client_secret`), `AUTHN_SCOPE`
 * (separated by spaces), `AUTHN_AUDIENCE` and `AUTHN_RESOURCE`: the variables of the command. What is set only under the name
 * that it had earlier (`OIDC_ISSUER`, and `OIDC_SCOPES`) is read with a note in the log.
 *
 * @category configuration
 * @since 0.1.0
 */
export const fromEnvironment: Config.Config<OidcOptions> = /* @__PURE__ */ environment()

/**
 * The options, complete and checked.
 *
 * @internal
 */
export interface Settings {
  readonly issuer: string
  readonly clientId: string
  readonly clientAuthentication: ClientAuthentication
  readonly scopes: ReadonlyArray<string>
  readonly audience: string | undefined
  readonly resource: string | undefined
  readonly prompt: string | undefined
  readonly parameters: { readonly [name: string]: string }
  readonly tokenType: string | undefined
  readonly idTokenAlgorithm: JwtCodec.Algorithm | undefined
  readonly metadata: OidcMetadata | undefined
  readonly environment: ReadonlyArray<string>
  readonly dpop: boolean
  readonly par: boolean
  readonly workload: OidcOptions["workload"]
  readonly sources: ReadonlyArray<TokenSource>
  readonly policy: RefreshPolicy.RefreshPolicy
  /** Whether an id_token is asked for that the provider's published keys verify. */
  readonly isSigned: boolean
}

/** @internal */
export const complete = Effect.fnUntraced(function*(options: OidcOptions): Effect.fn.Return<Settings, IamError> {
  yield* Effect.fromResult(IamHttp.endpoint(options.issuer))
  if (options.clientId === "") {
    return yield* IamHttp.error(
      { issuer: options.issuer, method: "configure" },
      new Misconfigured({ detail: "the client id is empty: register a client at the provider and give its id" })
    )
  }
  const scopes = options.scopes ?? ["openid", "profile", "email", "offline_access"]
  return {
    issuer: options.issuer,
    clientId: options.clientId,
    clientAuthentication: options.clientAuthentication ?? { method: "none" },
    scopes,
    audience: options.audience,
    resource: options.resource,
    prompt: options.prompt,
    parameters: options.parameters ?? {},
    tokenType: options.tokenType,
    idTokenAlgorithm: options.idTokenAlgorithm,
    metadata: options.metadata,
    environment: options.environment ?? [],
    dpop: options.dpop ?? false,
    par: options.par ?? false,
    workload: options.workload,
    sources: options.sources ?? [],
    policy: { ...RefreshPolicy.standard, ...options.policy },
    isSigned: scopes.includes("openid") && options.idTokenAlgorithm?.startsWith("HS") !== true
  }
})

/**
 * What a request says of the access token that it is for; the grant is asked for everything, a renewal may narrow.
 *
 * @internal
 */
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
  const { audience } = settings
  // The audience of the options is a selection of its own, in another parameter.
  const resource = selection.resource === audience ? settings.resource : selection.resource ?? settings.resource
  return {
    ...(scope === "" ? {} : { scope }),
    ...(resource === undefined ? {} : { resource }),
    ...(audience === undefined ? {} : { audience })
  }
})

/**
 * What the options select where a caller selects nothing.
 *
 * @internal
 */
export const selection = ({ audience, resource = audience }: Settings): Selection.Selection | undefined =>
  resource === undefined ? undefined : Selection.make({ resource })

const personal = new Set(["openid", "profile", "email", "address", "phone", "offline_access"])

/**
 * The scopes of the options that mean something where no person signs in.
 *
 * @internal
 */
export const scopesOfPrograms = ({ scopes }: Settings): ReadonlyArray<string> =>
  scopes.filter((scope) => !personal.has(scope))
