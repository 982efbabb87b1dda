/**
 * Everything that a program on Node, Bun or Deno needs beside its dialect, in one line.
 *
 * @since 0.1.0
 */
import * as AuthManager from "@effect-authn/core/AuthManager"
import type { IamClient } from "@effect-authn/core/iam/IamClient"
import { PublicHttpClient } from "@effect-authn/core/iam/PublicHttpClient"
import * as Redaction from "@effect-authn/core/iam/Redaction"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import { WorkloadIdentity } from "@effect-authn/core/login/WorkloadIdentity"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import type { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Os from "node:os"
import * as PrivateAddress from "./internal/privateAddress.ts"
import * as Proxy from "./internal/proxy.ts"
import * as UndiciClient from "./internal/undiciClient.ts"
import * as NodeBackgroundSleep from "./NodeBackgroundSleep.ts"
import * as NodeStorage from "./NodeStorage.ts"
import * as NodeWorkloadIdentity from "./NodeWorkloadIdentity.ts"

/**
 * Which session a program uses, and where sessions live.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<StorageE = never> {
  /** Which of several sessions at the same IAM. Default: `default`. */
  readonly account?: string
  /**
   * Where sessions live. Default: `NodeStorage.layer` with permission to use plain files: encrypted files where there is
   * a key, and plain ones elsewhere. `StoragePolicy` tells which, and why. Any other layer will do, such as
   * `SqlTokenStorage.layer` over `NodeSqlite.layer`, under `EncryptedTokenStorage.layer`.
   */
  readonly storage?: Layer.Layer<TokenStorage | SessionLock.SessionLock, StorageE>
}

// Bun has a module of the name `undici`, but no dispatcher behind it.
const isBun = "bun" in process.versions

const layerFetch = Layer.provide(
  FetchHttpClient.layer,
  Layer.succeed(FetchHttpClient.RequestInit, { redirect: "manual" })
)

/**
 * An `HttpClient` that honours `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, decodes what a server compressed, and follows no
 * redirects. Node and Deno send by undici, Bun by its own `fetch` and its own rules for proxies.
 *
 * **Details**
 *
 * - A proxy without a scheme is http; `https://`, `socks5://` and `socks5h://` are spoken too. Where there is none for
 *   https, the one for http counts.
 * - This machine (`localhost` and names below it, 127.0.0.0/8, ::1) is never asked of a proxy.
 * - `NO_PROXY` lists names, which count for all names below them, addresses, and ranges such as `10.0.0.0/8`; each may end
 *   in a port. `*` is everything.
 * - What a proxy did is told as its doing, with the name of the variable and nothing of its address.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHttpClient: Layer.Layer<HttpClient.HttpClient> = isBun ? layerFetch : UndiciClient.layer

/**
 * The variables for proxies that the environment has, each with the proxy's address as it may be shown: without a user, a
 * password, and whatever may be part of one. `None` is one that is no address: it fails the requests that need it.
 *
 * @category diagnosis
 * @since 0.1.0
 */
export const proxies: Effect.Effect<
  ReadonlyArray<{ readonly variable: string; readonly shown: Option.Option<string> }>
> = Effect.map(
  Proxy.settings,
  ({ http, https }) =>
    [...new Set([...Option.toArray(https), ...Option.toArray(http)])].map(({ address, variable }) => ({
      variable,
      shown: Option.map(address, ({ host, protocol, username }) => `${protocol}//${username === "" ? "" : "…@"}${host}`)
    }))
)

/**
 * The client for addresses that a server has named: it connects to public ones only. Names are resolved when a connection
 * is made, and each address is looked at; Bun, whose `fetch` resolves by itself, looks before it sends.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPublicHttpClient: Layer.Layer<PublicHttpClient> = Layer.effect(
  PublicHttpClient,
  Effect.map(HttpClient.HttpClient, (client) => PrivateAddress.guard(client, { resolves: isBun }))
).pipe(Layer.provide(isBun ? layerFetch : UndiciClient.layerResolving(PrivateAddress.lookup)))

// The program's own, else whatever platform runs it. Nobody asks it for a token without an audience.
const platformOf = Layer.unwrap(
  Effect.map(
    Effect.serviceOption(WorkloadIdentity),
    (own) => Option.isSome(own) ? Layer.succeed(WorkloadIdentity, own.value) : NodeWorkloadIdentity.layer()
  )
)

/**
 * The manager of one account over the program's own `HttpClient`, which the type asks for.
 *
 * **When to use**
 *
 * Use when the program sends its requests in its own way: through one client for all of its managers, with a certificate
 * of its own, or with a client that a test scripts. Everything else is as in `layer`.
 *
 * **Example** (One client for two IAMs)
 *
 * ```ts
 * import { AuthManager } from "@effect-authn/core"
 * import { DatalayerIam } from "@effect-authn/iam-datalayer"
 * import { GenomcoreIam } from "@effect-authn/iam-genomcore"
 * import { NodeAuth } from "@effect-authn/platform-node"
 * import { Effect, Layer } from "effect"
 *
 * const issuers = Effect.gen(function*() {
 *   const key = Effect.map(AuthManager.AuthManager, (auth) => auth.key.issuer)
 *   return [
 *     yield* Effect.provide(key, NodeAuth.layerNoDeps(DatalayerIam.layer({ issuer: "https://iam.example" }))),
 *     yield* Effect.provide(key, NodeAuth.layerNoDeps(GenomcoreIam.layer({ host: "https://genomes.example" })))
 *   ]
 * })
 *
 * export const program = Effect.provide(issuers, NodeAuth.layerHttpClient)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNoDeps = <Services, E, StorageE = never>(
  dialect: Layer.Layer<IamClient | Services, E, HttpClient.HttpClient>,
  options?: Options<StorageE>
): Layer.Layer<
  | AuthManager.AuthManager
  | SessionKeeper.SessionKeeper
  | TokenStorage
  | SessionLock.SessionLock
  | IamClient
  | Services,
  E | StorageE,
  HttpClient.HttpClient
> =>
  AuthManager.layer(options?.account === undefined ? {} : { account: options.account }).pipe(
    Layer.provideMerge(SessionKeeper.layer),
    Layer.provide([
      NodeBackgroundSleep.layer,
      Layer.sync(SessionLock.Holder, () => `process ${process.pid} on ${Os.hostname()}`)
    ]),
    Layer.provideMerge(options?.storage ?? NodeStorage.layer({ plainFiles: Effect.succeed(true) })),
    Layer.provideMerge(Layer.provide(dialect, platformOf)),
    Layer.provideMerge(Redaction.layer)
  )

/**
 * The manager of one account, with the services of the dialect, a storage, `layerHttpClient`, and the names of secret
 * parameters in Effect's redaction lists. Building it sends nothing.
 *
 * **Details**
 *
 * Background renewals do not keep the process alive; one that is under way when the program ends is waited for. The lock
 * of the default storage is one for all programs of the user, whichever of Node, Bun and Deno runs them.
 *
 * **Example** (A program that is signed in)
 *
 * ```ts
 * import { AuthHttpClient, AuthManager } from "@effect-authn/core"
 * import { DatalayerIam } from "@effect-authn/iam-datalayer"
 * import { NodeAuth } from "@effect-authn/platform-node"
 * import { Effect } from "effect"
 *
 * const whoami = Effect.gen(function*() {
 *   const auth = yield* AuthManager.AuthManager
 *   const api = yield* AuthHttpClient.make({ baseUrl: auth.key.issuer })
 *   return yield* Effect.flatMap(api.get("/api/iam/v1/me"), (answer) => answer.text)
 * })
 *
 * export const program = Effect.provide(whoami, NodeAuth.layer(DatalayerIam.layerConfig()))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Services, E, StorageE = never>(
  dialect: Layer.Layer<IamClient | Services, E, HttpClient.HttpClient>,
  options?: Options<StorageE>
): Layer.Layer<
  | AuthManager.AuthManager
  | SessionKeeper.SessionKeeper
  | TokenStorage
  | SessionLock.SessionLock
  | HttpClient.HttpClient
  | IamClient
  | Services,
  E | StorageE
> => Layer.provideMerge(layerNoDeps(dialect, options), layerHttpClient)
