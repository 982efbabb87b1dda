/**
 * Everything that a Node program needs beside its dialect, in one line.
 *
 * @since 0.1.0
 */
import * as AuthManager from "@effect-authn/core/AuthManager"
import type { IamClient } from "@effect-authn/core/iam/IamClient"
import * as Redaction from "@effect-authn/core/iam/Redaction"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import type { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Os from "node:os"
import * as NodeBackgroundSleep from "./NodeBackgroundSleep.ts"
import * as NodeStorage from "./NodeStorage.ts"

/**
 * - `account` (default `default`): which of several sessions at the same IAM.
 * - `storage`: where sessions live. Default: `NodeStorage.layer` with leave to use plain files, which is encrypted files
 *   where there is a key and plain ones elsewhere; `StoragePolicy` tells which, and why.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly account?: string
  readonly storage?: Layer.Layer<TokenStorage | SessionLock.SessionLock>
}

/**
 * An `HttpClient` that honours `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. It follows no redirects.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHttpClient: Layer.Layer<HttpClient.HttpClient> = Layer.provide(
  NodeHttpClient.layerUndiciNoDispatcher,
  Layer.effect(
    NodeHttpClient.Dispatcher,
    Effect.acquireRelease(
      Effect.map(
        Effect.promise(() => import("@effect/platform-node/Undici")),
        (Undici) => new Undici.EnvHttpProxyAgent()
      ),
      (dispatcher) => Effect.promise(() => dispatcher.destroy())
    )
  )
)

/**
 * The manager of one account, with the services of the dialect, a storage, an HTTP client, and the names of secret
 * parameters in Effect's redaction lists. Building it reads and
 * sends nothing. Background renewals do not keep the process alive; one that is under way when the program ends is
 * waited for.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Services, E>(
  dialect: Layer.Layer<IamClient | Services, E, HttpClient.HttpClient>,
  options?: Options
): Layer.Layer<
  | AuthManager.AuthManager
  | SessionKeeper.SessionKeeper
  | TokenStorage
  | SessionLock.SessionLock
  | HttpClient.HttpClient
  | IamClient
  | Services,
  E
> =>
  AuthManager.layer(options?.account === undefined ? {} : { account: options.account }).pipe(
    Layer.provideMerge(SessionKeeper.layer),
    Layer.provide([
      NodeBackgroundSleep.layer,
      Layer.sync(SessionLock.Holder, () => `process ${process.pid} on ${Os.hostname()}`)
    ]),
    Layer.provideMerge(options?.storage ?? NodeStorage.layer({ plainFiles: Effect.succeed(true) })),
    Layer.provideMerge(dialect),
    Layer.provideMerge(layerHttpClient),
    Layer.provideMerge(Redaction.layer)
  )
