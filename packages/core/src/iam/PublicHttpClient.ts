/**
 * Requests to addresses that somebody else has named.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"

/**
 * Sends requests to addresses that a server has named, without letting that server look into the network that this
 * program is in (server-side request forgery). `NodeAuth.layerPublicHttpClient` of `@effect-authn/platform-node` is one.
 *
 * @category services
 * @since 0.1.0
 */
export class PublicHttpClient extends Context.Service<PublicHttpClient, {
  /**
   * Connects to public addresses only, which are looked at as they were resolved, when the connection is made. Through a
   * proxy, which resolves by itself, only addresses that are written as numbers can be looked at. A refusal has the code
   * `ERR_PRIVATE_ADDRESS`.
   */
  readonly client: HttpClient.HttpClient
  /** Whether the host of an address is this machine or in a private network, as far as it can be resolved. */
  readonly isPrivate: (address: URL) => Effect.Effect<boolean>
}>()("@effect-authn/core/iam/PublicHttpClient") {}
