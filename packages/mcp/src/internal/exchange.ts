/** Requests and answers at a server of MCP: which can be sent again, what a refusal leaves, and how a server is asked. */
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

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
