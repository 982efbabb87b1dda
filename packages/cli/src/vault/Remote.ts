/**
 * A vault elsewhere, for `authn login --vault` and `authn token --vault`.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as PrivateFile from "@effect-authn/platform-node/PrivateFile"
import * as SecretFile from "@effect-authn/platform-node/SecretFile"
import * as VaultApi from "@effect-authn/vault/VaultApi"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import * as Path from "node:path"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import { failed, Failure, usage } from "../Failure.ts"
import * as Input from "../Input.ts"
import type * as Settings from "../Settings.ts"
import * as TimeSpan from "../TimeSpan.ts"
import type * as Flags from "./Flags.ts"

type Given = Flags.Given<typeof Flags.remote>

const givenToken = Effect.fnUntraced(function*({ vaultTokenFile, vaultTokenStdin }: Given) {
  if (vaultTokenStdin && Option.isSome(vaultTokenFile)) {
    return yield* usage("one service token at a time: --vault-token-file or --vault-token-stdin")
  }
  if (vaultTokenStdin) return yield* Input.secret("the service token")
  if (Option.isSome(vaultTokenFile)) {
    return yield* Effect.mapError(
      SecretFile.read(Path.resolve(vaultTokenFile.value)),
      ({ message }) => usage(`--vault-token-file cannot be read: ${message}`)
    )
  }
  const variable = yield* EnvironmentToken.setIn("AUTHN_VAULT_TOKEN")
  return Option.isSome(variable)
    ? Redacted.make(variable.value.trim(), { label: "service_token" })
    : yield* usage(
      "no service token for the vault: give --vault-token-file FILE or --vault-token-stdin, or set AUTHN_VAULT_TOKEN"
    )
})

const serviceToken = (given: Given) =>
  Effect.filterOrFail(
    givenToken(given),
    (token) => /^[\x21-\x7e]+$/.test(Redacted.value(token)),
    () => usage("what was given as the service token is none: it is one word, as authn vault token create prints it")
  )

// The vault answers within 8 seconds.
const patience = Duration.seconds(10)

const noVault = (url: string): string =>
  `what answers at ${url} is no vault of this version: check its address, and update one of the two`

/** What a vault's refusal means for whoever typed the command. */
const failing = (url: string) => (error: unknown): Failure => {
  const code = Predicate.hasProperty(error, "error") ? error.error : undefined
  const said = IamHttp.quote(Predicate.isError(error) ? error.message : "it failed")
  const tag = Predicate.hasProperty(error, "_tag") ? error._tag : undefined
  const detail = `the vault at ${url}: ${said}`
  switch (code ?? tag) {
    case "no_session":
      return new Failure({ exitCode: 3, detail: `${detail}\nPut a session in with: authn login --vault ${url}` })
    case "reauthentication_required":
      return new Failure({ exitCode: 4, detail: `${detail}\nPut a new one in with: authn login --vault ${url}` })
    case "provider_unknown":
      return usage(detail)
    case "unavailable":
    case "KeysUnavailable":
      return new Failure({ exitCode: 5, detail })
    case "Unauthorized":
    case "InsufficientScope":
      return failed(`the vault at ${url} refuses the service token: ${said}`)
    case "TimeoutError":
      return new Failure({ exitCode: 5, detail: `the vault at ${url} does not answer: try again later` })
    case "HttpClientError": {
      if (Predicate.hasProperty(error, "reason") && Predicate.isTagged(error.reason, "TransportError")) {
        return new Failure({
          exitCode: 5,
          detail: `the vault at ${url} cannot be reached: see whether it runs, and its address`
        })
      }
      const status = HttpClientError.isHttpClientError(error) ? error.response?.status ?? 0 : 0
      // the words of a proxy in front of it
      if (status === 408 || status === 429 || status >= 500) {
        return new Failure({
          exitCode: 5,
          detail: `the vault at ${url} is not available (status ${status}): try again later`
        })
      }
      return failed(
        status >= 300 && status < 400
          ? `what answers at ${url} sends elsewhere, and a service token does not follow: give the address of the vault itself`
          : `what answers at ${url} is no vault: check its address`
      )
    }
    case "SchemaError":
      return failed(noVault(url))
    default:
      return failed(detail)
  }
}

/** The vault that the flags name, and the account in it. Nothing is sent. */
export const open = Effect.fnUntraced(function*(given: Given, settings: Settings.Settings) {
  const url = Option.getOrElse(given.vault, () => "")
  if (!SecureUrl.mayCarrySecrets(url) || /[?#]|\/\/[^/]*@/.test(url)) {
    return yield* usage(
      `--vault takes the address of a vault, https or on this machine: "${SecureUrl.shown(url)}" is none`
    )
  }
  const address = url.replace(/\/+$/, "")
  const token = yield* serviceToken(given)
  const http = Context.get(yield* Layer.build(NodeAuth.layerHttpClient), HttpClient.HttpClient)
  const client = yield* HttpApiClient.makeWith(VaultApi.VaultApi, {
    httpClient: HttpClient.mapRequest(http, HttpClientRequest.bearerToken(token)),
    baseUrl: address
  })
  const asking = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, Failure> =>
    call.pipe(SecureUrl.withoutRedirects, Effect.timeout(patience), Effect.mapError(failing(address)))
  const account = Option.getOrElse(given.vaultAccount, () => settings.name)
  return { url: address, account, isAccountTold: Option.isSome(given.vaultAccount), client, asking, settings }
})

/** A vault, ready to be asked. */
export type Remote = Effect.Success<ReturnType<typeof open>>

// Which session of a vault an account here stands for: nothing secret, and so not asked for again.
const Known = Schema.fromJsonString(
  Schema.Struct({ url: Schema.String, issuer: Schema.String, client: Schema.String, account: Schema.String })
)
const encodeKnown = Schema.encodeSync(Known)
const decodeKnown = Schema.decodeUnknownOption(Known)

const recordOf = (name: string) => Effect.map(Account.directory, (data) => Path.join(data, "vaults", `${name}.json`))

/** Puts a session into the vault, and remembers which one it was. */
export const put = Effect.fnUntraced(function*(
  { account, asking, client, settings, url }: Remote,
  { clientId, issuer }: SessionKey,
  session: Session.Session
) {
  const now = yield* DateTime.now
  const tokens = yield* Effect.fromOption(
    Session.currentToken(session),
    () => failed("the IAM gave no token for the selection: there is nothing to put into the vault")
  )
  const secondsUntil = (end: DateTime.Utc) => Math.max(1, Math.round(Duration.toSeconds(DateTime.distance(now, end))))
  const { grant } = session
  yield* asking(client.put({
    payload: {
      issuer,
      client: clientId,
      account,
      selection: session.current,
      access_token: tokens.accessToken,
      token_type: tokens.tokenType,
      ...(Option.isSome(tokens.expiresAt) ? { expires_in: secondsUntil(tokens.expiresAt.value) } : {}),
      ...(Option.isSome(tokens.idToken) ? { id_token: tokens.idToken.value } : {}),
      ...(Option.isSome(tokens.scope) ? { scope: tokens.scope.value } : {}),
      ...(grant._tag !== "RefreshToken" ? {} : {
        refresh_token: grant.refreshToken,
        ...(grant.expiresAt === undefined ? {} : { refresh_expires_in: secondsUntil(grant.expiresAt) })
      })
    }
  }))
  const path = yield* recordOf(settings.name)
  yield* PrivateFile.makeDirectory(Path.dirname(path)).pipe(
    Effect.andThen(
      PrivateFile.replace(path, encodeKnown({ url, issuer, client: clientId, account }), { isLocked: false })
    ),
    Effect.mapError(({ detail }) => failed(detail))
  )
})

/** Which session is meant: the one that was put in from here, else that of the IAM that is configured. */
const keyOf = Effect.fnUntraced(function*({ account, isAccountTold, settings, url }: Remote) {
  const text = yield* Effect.orElseSucceed(
    Effect.flatMap(recordOf(settings.name), PrivateFile.read),
    () => Option.none()
  )
  const known = Option.filter(Option.flatMap(text, decodeKnown), (known) => known.url.replace(/\/+$/, "") === url)
  if (Option.isSome(known)) {
    return {
      issuer: known.value.issuer,
      client: known.value.client,
      account: isAccountTold ? account : known.value.account
    }
  }
  const { dialect, values: { issuer } } = settings
  if (dialect === undefined || issuer === undefined) {
    return yield* usage(
      `which IAM? Nothing was put into this vault from here as "${settings.name}": sign in with authn login --vault ${url}, ` +
        "or set AUTHN_DIALECT, AUTHN_ISSUER and AUTHN_CLIENT_ID"
    )
  }
  const services = yield* AccountServices.open(
    AccountServices.targetOf(settings, dialect, issuer.value),
    AccountServices.storage("memory")
  )
  const { key } = Context.get(services, AuthManager)
  return { issuer: key.issuer, client: key.clientId, account }
})

/** Takes a token out of the vault that is valid for at least `minTtl` milliseconds. */
export const take = Effect.fnUntraced(function*(
  remote: Remote,
  options: { readonly minTtl: number; readonly selection: Selection.Input }
) {
  const key = yield* keyOf(remote)
  const ask = (refused?: string) =>
    Effect.map(
      remote.asking(remote.client.token({
        payload: {
          ...key,
          ...(Object.keys(options.selection).length === 0 ? {} : { selection: Selection.make(options.selection) }),
          ...(refused === undefined ? {} : { refused })
        }
      })),
      (answer) => ({ answer, left: Option.getOrElse(answer.expires_in, () => Number.POSITIVE_INFINITY) * 1000 })
    )
  const first = yield* ask()
  const { answer, left } = first.left >= options.minTtl
    ? first
    : yield* ask(createHash("sha256").update(Redacted.value(first.answer.access_token)).digest("base64url"))
  if (left < options.minTtl) {
    return yield* failed(
      `a new token is valid for ${TimeSpan.shortfall(left, options.minTtl)} of --min-ttl`
    )
  }
  const accessToken = TokenSet.accessTokenFrom(Redacted.value(answer.access_token))
  if (Option.isNone(accessToken) || !TokenSet.isTokenType(answer.token_type)) return yield* failed(noVault(remote.url))
  return TokenSet.TokenSet.make({
    accessToken: accessToken.value,
    tokenType: answer.token_type,
    issuedAt: yield* DateTime.now,
    expiresAt: answer.expires_at,
    idToken: Option.none(),
    scope: answer.scope
  })
})
