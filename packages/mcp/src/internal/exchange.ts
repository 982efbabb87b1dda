/** Requests and answers at a server of MCP: which can be sent again, what a refusal leads to, and how a server is asked. */
import type * as Session from "@effect-authn/core/session/Session"
import * as Effect from "effect/Effect"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as ProtectedResource from "../ProtectedResource.ts"
import type { Connections } from "./connections.ts"
import type { Options, Services } from "./options.ts"
import * as Reason from "./reason.ts"
import type * as SignIn from "./signIn.ts"

/** A stream is gone once it was sent; of a `Raw` body nobody knows. */
export const canReplay = (request: HttpClientRequest.HttpClientRequest): boolean =>
  request.body._tag !== "Stream" && request.body._tag !== "Raw"

const mostChunks = 64

/**
 * Reads the body of a refusal, which may become the answer: unread, it would keep its connection until it is thrown away
 * with whatever is on it. Of one that is long or slow, the beginning will do.
 */
export const read = (response: HttpClientResponse.HttpClientResponse) =>
  response.stream.pipe(
    Stream.take(mostChunks),
    Stream.mkUint8Array,
    Effect.timeoutOption("5 seconds"),
    Effect.map(Option.getOrElse(() => new Uint8Array())),
    Effect.orElseSucceed(() => new Uint8Array()),
    Effect.map((body) =>
      HttpClientResponse.fromWeb(
        response.request,
        new Response(body.length === 0 ? null : body.slice(), {
          status: response.status,
          headers: Object.entries(response.headers)
        })
      )
    )
  )

export const probe = (url: URL) =>
  HttpClientRequest.post(url).pipe(
    HttpClientRequest.setHeaders({
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25"
    }),
    HttpClientRequest.bodyJsonUnsafe({
      jsonrpc: "2.0",
      id: 1,
      method: "initialize",
      params: {
        protocolVersion: "2025-11-25",
        capabilities: {},
        clientInfo: { name: "effect-authn", version: "0.1.0" }
      }
    })
  )

// How often a request may sign in for more scopes, and how often a set of scopes is asked for in vain.
const stepUpLimit = 2

/**
 * Sends requests to a server with what the session has to show, and signs in where it is refused. A request to anywhere else
 * is sent as it is.
 */
export const make = ({ connections, mode, send, signIn }: {
  readonly connections: Connections
  readonly mode: Options["login"]
  readonly send: (
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>
  readonly signIn: Effect.Success<ReturnType<typeof SignIn.make>>
}) => {
  // How often a sign-in for a set of scopes did not help, in this program.
  const stepUps = new Map<string, number>()

  return Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest): Effect.fn.Return<
    HttpClientResponse.HttpClientResponse,
    HttpClientError.HttpClientError | Reason.McpAuthError,
    Services
  > {
    const address = HttpClientRequest.toUrl(request)
    // A token goes to its resource's origin, and nowhere else.
    if (Option.isNone(address) || address.value.origin !== connections.url.origin) return yield* send(request)
    const sendWith = (bearer: Session.Bearer | undefined) => {
      const connected = connections.current()
      return bearer === undefined || connected === undefined
        ? send(request)
        : Effect.flatMap(connected.manager.present(bearer, request), send)
    }
    // A server that wants a nonce in the proof gets it once.
    const sendAgain = (bearer: Session.Bearer | undefined, response: HttpClientResponse.HttpClientResponse) =>
      Effect.gen(function*() {
        const connected = connections.current()
        if (bearer === undefined || connected === undefined) return response
        const challenge = yield* connected.manager.challenged(bearer, response)
        return challenge === "retry" && canReplay(request) ? yield* sendWith(bearer) : response
      })
    const show = (bearer: Session.Bearer | undefined) =>
      Effect.flatMap(sendWith(bearer), (response) => sendAgain(bearer, response))
    let bearer = yield* connections.present(yield* connections.known)
    let response = yield* show(bearer)
    if (!canReplay(request)) return response
    let isRenewed = false
    let isSignedIn = false
    let steps = 0
    for (;;) {
      if (response.status === 401 || response.status === 403) response = yield* read(response)
      const challenge = ProtectedResource.challenge(response.headers["www-authenticate"] ?? "")
      if (response.status === 401) {
        const connected = connections.current()
        if (bearer !== undefined && connected !== undefined && !isRenewed) {
          isRenewed = true
          const other = yield* Effect.result(connected.manager.rejected(bearer))
          if (Result.isSuccess(other)) {
            bearer = other.success
            response = yield* show(bearer)
            continue
          }
          if (Reason.isRefusedClient(other.failure)) connections.lost(connected.signIn.client.clientId)
          else if (!Reason.isEnded(other.failure)) return yield* other.failure
        }
        if (isSignedIn) return response
        const next = yield* signIn({ challenge, refused: bearer, isForced: false, scopes: [] })
        if (Option.isNone(next)) return response
        isSignedIn = true
        bearer = next.value.bearer
        response = yield* show(bearer)
        continue
      }
      const isTooSmall = response.status === 403 &&
        Option.exists(challenge, ({ error }) => Option.contains(error, "insufficient_scope"))
      if (!isTooSmall || bearer === undefined || mode === "never") return response
      const { scopes: required } = Option.getOrThrow(challenge)
      const union = [...new Set([...connections.current()?.signIn.scopes ?? [], ...required])].sort()
      const id = union.join(" ")
      const tried = stepUps.get(id) ?? 0
      if (steps >= stepUpLimit || tried >= stepUpLimit) {
        return yield* new Reason.ScopeRefused({
          url: connections.canonical,
          required,
          account: connections.account
        })
      }
      steps += 1
      stepUps.set(id, tried + 1)
      const next = yield* signIn({ challenge, refused: bearer, isForced: false, scopes: union })
      if (Option.isNone(next)) return response
      bearer = next.value.bearer
      response = yield* show(bearer)
      if (response.status < 400) stepUps.delete(id)
    }
  })
}
