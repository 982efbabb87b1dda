/** The content codings of HTTP answers (RFC 9110, section 8.4.1), which undici leaves to its caller. */
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"
import { type Duplex, Transform } from "node:stream"
import * as Zlib from "node:zlib"

/** Decodes from the first byte: an answer without a body often names a coding as well. */
const lazily = (decoderFor: (first: number) => Transform) => (): Duplex => {
  let inner: Transform | undefined
  const outer = new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => {
      const [first] = chunk
      if (first === undefined) return done()
      if (inner === undefined) {
        inner = decoderFor(first)
        inner.on("data", (data) => outer.push(data)).on("error", (cause) => outer.destroy(cause))
      }
      inner.write(chunk, done)
    },
    flush: (done) => {
      if (inner === undefined) return done()
      return inner.once("end", () => done()).end()
    }
  })
  return outer
}

const decoders: { readonly [coding: string]: (() => Duplex) | undefined } = {
  gzip: lazily(() => Zlib.createGunzip()),
  "x-gzip": lazily(() => Zlib.createGunzip()),
  // Some servers leave the frame of zlib out (RFC 9110, section 8.4.1.2), whose first byte names the method.
  deflate: lazily((first) => (first & 0x0f) === 8 ? Zlib.createInflate() : Zlib.createInflateRaw()),
  br: lazily(() => Zlib.createBrotliDecompress()),
  // Node has it since 22.15.
  zstd: lazily(() => Zlib.createZstdDecompress())
}

// Each coding multiplies what one byte can become.
const mostCodings = 5

/**
 * The answer with its body decoded, as it comes. An answer in a coding that is not known stays as it is, with the header
 * that names it.
 */
export const decoded = (response: HttpClientResponse.HttpClientResponse): HttpClientResponse.HttpClientResponse => {
  const codings = (response.headers["content-encoding"] ?? "").toLowerCase().split(",").map((coding) => coding.trim())
    .filter((coding) => coding !== "" && coding !== "identity")
  const steps = codings.toReversed().map((coding) => decoders[coding])
  const hasBody = response.request.method !== "HEAD" && ![204, 205, 304].includes(response.status)
  if (steps.length === 0 || steps.length > mostCodings || !hasBody) return response
  let body = response.stream
  for (const evaluate of steps) {
    if (evaluate === undefined) return response
    body = NodeStream.pipeThroughDuplex(body, {
      evaluate,
      onError: (cause) =>
        new HttpClientError.HttpClientError({
          reason: new HttpClientError.DecodeError({ request: response.request, response, cause })
        })
    })
  }
  // What is left has another length.
  const headers = Headers.removeMany(response.headers, ["content-encoding", "content-length"])
  return HttpClientResponse.fromWeb(
    response.request,
    new Response(Stream.toReadableStream(body), { status: response.status, headers })
  )
}

/** For `HttpClient.transformResponse`. */
export const decode = Effect.map(decoded)
