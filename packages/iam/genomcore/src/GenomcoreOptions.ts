/**
 * What a caller sets of a Genomcore-style IAM, checked, and where it comes from in the environment. Whatever is not known
 * of the vendor's service is an option with a default, so that a correction is data, not code.
 *
 * @since 0.1.0
 */
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as Variable from "@effect-authn/core/Variable"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { projectIdClaims } from "./GenomcoreClaims.ts"

/**
 * The auth origin of each environment, by name.
 *
 * @category models
 * @since 0.1.0
 */
export type Environments = { readonly [name: string]: string }

/**
 * - `environments`: the auth origin of each environment. None is built in.
 * - `env`: which of them; `prod` where absent, null or empty. Case matters.
 * - `host`: an auth origin that overrides the table.
 * - `tokenType`: the word before the token in an `Authorization` header, by default `Bearer`.
 * - `paths`: the routes, by default `/api/v1/auth/login` and `/api/v1/auth/refresh-token`.
 * - `projectIdClaims`: the claims that may hold the project id, in order.
 * - `stickyProject`: whether a renewal names the session's project again; true by default. A renewal for another
 *   project than the current one always names it.
 * - `policy`: what differs from the dialect's `policy`.
 *
 * @category models
 * @since 0.1.0
 */
export interface GenomcoreOptions {
  readonly environments?: Environments | undefined
  readonly env?: string | null | undefined
  readonly host?: string | undefined
  readonly tokenType?: string | undefined
  readonly paths?: { readonly login?: string; readonly refresh?: string } | undefined
  readonly projectIdClaims?: ReadonlyArray<string> | undefined
  readonly stickyProject?: boolean | undefined
  readonly policy?: Partial<RefreshPolicy.RefreshPolicy> | undefined
}

/**
 * Renews strictly under 15 minutes before expiry, and before the token is handed out. A token without `exp` has no known
 * end.
 *
 * @category constants
 * @since 0.1.0
 */
export const policy: RefreshPolicy.RefreshPolicy = {
  ...RefreshPolicy.standard,
  window: Duration.minutes(15),
  renewFirst: true,
  defaultLifetime: Duration.infinity
}

/**
 * The options of the environment: `GENOMCORE_HOST` has the auth origin.
 *
 * @category configuration
 * @since 0.1.0
 */
export const fromEnvironment: Config.Config<GenomcoreOptions> = Config.all({
  host: Variable.text("GENOMCORE_HOST")
})

/**
 * The options, complete and checked. `host` is an origin.
 *
 * @internal
 */
export interface Settings {
  readonly environments: Environments
  readonly env: string
  readonly host: string
  readonly tokenType: string
  readonly paths: { readonly login: string; readonly refresh: string }
  readonly projectIdClaims: ReadonlyArray<string>
  readonly stickyProject: boolean
  readonly policy: RefreshPolicy.RefreshPolicy
}

/** @internal */
export const complete = Effect.fnUntraced(function*(options: GenomcoreOptions): Effect.fn.Return<Settings, IamError> {
  const env = options.env || "prod"
  const environments = options.environments ?? {}
  const refuse = (detail: string) =>
    IamHttp.error({ issuer: `the environment "${env}"`, method: "configure" }, new Misconfigured({ detail }))

  const address = options.host ?? Option.getOrUndefined(environment(environments, env))
  if (address === undefined) {
    return yield* refuse(`there is no environment "${env}": ${knownNames(environments)}`)
  }
  const host = origin(address)
  if (Option.isNone(host)) {
    return yield* refuse(
      "the host must be an https origin such as https://auth.example.com (http only on loopback), " +
        "with no path, query, fragment or user"
    )
  }
  const tokenType = options.tokenType ?? "Bearer"
  if (!TokenSet.isTokenType(tokenType)) {
    return yield* refuse(`the token type must be one word such as "Bearer", with no space or line break`)
  }
  const paths = { login: "/api/v1/auth/login", refresh: "/api/v1/auth/refresh-token", ...options.paths }
  const names = options.projectIdClaims ?? projectIdClaims
  for (const path of Object.values(paths)) {
    // Without the slash, a path could become a part of the host's name.
    if (!path.startsWith("/")) return yield* refuse(`the path "${path}" must begin with a slash`)
  }
  return {
    environments,
    env,
    host: host.value,
    tokenType,
    paths,
    projectIdClaims: names,
    stickyProject: options.stickyProject ?? true,
    policy: { ...policy, ...options.policy }
  }
})

/**
 * The auth origin of an environment, from the table's own names only.
 *
 * @internal
 */
export const environment = (environments: Environments, name: string): Option.Option<string> =>
  Object.hasOwn(environments, name) ? Option.fromUndefinedOr(environments[name]) : Option.none()

/**
 * The names of a table of environments, for a message.
 *
 * @internal
 */
export const knownNames = (environments: Environments): string =>
  Object.keys(environments).length === 0
    ? "no environment is set up; give `environments` (name to auth origin) or `host`"
    : `known are ${Object.keys(environments).map((name) => `"${name}"`).join(", ")}`

/**
 * Reads an address as an origin: scheme, host and port, with a trailing slash and the scheme's own port dropped. `None`
 * for an address with a path, query, fragment or user, and for plain http to a host that is not loopback.
 *
 * @category constructors
 * @since 0.1.0
 */
export const origin = (address: string): Option.Option<string> =>
  Result.getSuccess(IamHttp.endpoint(address)).pipe(
    Option.filter((url) => url.pathname === "/"),
    Option.map((url) => url.origin)
  )
