/** What it means that no answer came: the failures of a connection, of TLS and of a proxy, as reasons of an `IamError`. */
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Predicate from "effect/Predicate"
import { type IamErrorReason, Malformed, Misconfigured, Unavailable } from "../IamError.ts"
import { isOtherServer } from "./call.ts"
import { quote } from "./quote.ts"

// Names of the failures in which nothing was sent. Only codes are read: a message could show a header.
const notSent = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT"
])
// What zlib, Brotli and zstd of Node call their failures.
const undecoded = /^(Z_|ZSTD_|ERR__ERROR_|ERR_BROTLI_)/
const untrusted =
  /^(CERT_|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF)|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)/

export const transportReason = (failure: HttpClientError.HttpClientError): IamErrorReason => {
  const causes = causesOf(failure.reason.cause)
  const code = causes.map(({ code }) => code).find((code): code is string =>
    typeof code === "string" && /^\w{1,60}$/.test(code)
  )
  const { _tag } = failure.reason
  // The last is what undici says of a header that holds what no header can.
  if (_tag === "InvalidUrlError" || _tag === "EncodeError" || code === "UND_ERR_INVALID_ARG") {
    return new Misconfigured({ detail: "the request could not be built from this address and these credentials" })
  }
  if (code !== undefined && undecoded.test(code)) {
    return new Unavailable({
      sent: "maybe",
      detail: `the answer broke off, or is in another coding than its Content-Encoding says (${code})`
    })
  }
  // The end of a connection in the middle of an answer is all that a parser says of one that was cut.
  if (
    code === undefined
      ? causes.some(({ name }) => name === "HTTPParserError")
      : code.startsWith("HPE_") && code !== "HPE_INVALID_EOF_STATE"
  ) {
    return new Malformed({ detail: `the server does not speak HTTP; ${isOtherServer}` })
  }
  if (code === "ERR_PRIVATE_ADDRESS") {
    return new Misconfigured({
      detail: "the address leads into a private network, where no server may send this program: nothing was sent"
    })
  }
  const ofProxy = code === undefined ? undefined : proxyReason(code, causes)
  if (ofProxy !== undefined) return ofProxy
  if (code === "ERR_CLIENT_CERTIFICATE") {
    const own = causes.find(({ code }) => code === "ERR_CLIENT_CERTIFICATE")?.message
    return new Misconfigured({
      detail: typeof own === "string" ? quote(own) : "the client's certificate cannot be used"
    })
  }
  if (code === undefined) return new Unavailable({ sent: "maybe", detail: "the connection failed" })
  if (untrusted.test(code)) {
    return new Misconfigured({
      detail: `the server's certificate is not trusted (${code}): name the certificate of its authority in ` +
        `NODE_EXTRA_CA_CERTS, or start Node with --use-system-ca; if it has expired, it must be renewed`
    })
  }
  if (/^(EPROTO|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG))$/.test(code)) {
    return new Misconfigured({
      detail: `the server does not speak TLS (${code}): check scheme and port of its address`
    })
  }
  return notSent.has(code) || causes.some(({ syscall }) => syscall === "connect")
    ? new Unavailable({ sent: "no", detail: `no connection (${code})` })
    : new Unavailable({
      sent: "maybe",
      detail: `the connection broke before the answer was complete (${code})`,
      ...(failure.reason._tag === "TransportError" && isOfIdle(code, causes) ? { wasIdle: true as const } : {})
    })
}

/** What the proxy did that a variable of the environment names. Its address is not told: it may hold a password. */
const proxyReason = (code: string, causes: ReadonlyArray<Cause>): IamErrorReason | undefined => {
  const fact = (name: "variable" | "answer" | "why", unknown: string): string =>
    causes.map((cause) => cause[name]).filter((value) => typeof value === "string")
      .find((value) => /^[\w ]{1,60}$/.test(value)) ?? unknown
  const [variable, answer, why] = [fact("variable", "HTTPS_PROXY"), fact("answer", "no reason"), fact("why", code)]
  const instead = "or name the IAM's host in NO_PROXY where it can be reached without one"
  switch (code) {
    case "ERR_INVALID_PROXY":
      return new Misconfigured({
        detail:
          `${variable} is not the address of a proxy: write http://host:port, with what is special in a user or ` +
          "password percent-encoded, or unset it"
      })
    case "ERR_PROXY_REFUSED":
      return answer === "407" || answer === "SOCKS AUTH_FAILED" || answer === "SOCKS AUTH_REJECTED"
        ? new Misconfigured({
          detail: `the proxy that ${variable} names wants a user and a password, or others than these (${answer}): ` +
            `write http://user:password@host:port there, ${instead}`
        })
        : new Unavailable({
          sent: "no",
          detail:
            `the proxy that ${variable} names did not connect to it (${answer}): ask who runs the proxy, ${instead}`
        })
    case "ERR_PROXY_UNREACHABLE":
      return new Unavailable({
        sent: "no",
        detail:
          `the proxy that ${variable} names cannot be reached (${why}): unset ${variable} if it is not the proxy ` +
          `of this network, ${instead}`
      })
  }
  return undefined
}
// A reset says that nobody read what was sent; a socket that was only closed had answered others before.
const isOfIdle = (code: string, causes: ReadonlyArray<Cause>): boolean =>
  code === "ECONNRESET" || code === "EPIPE" ||
  causes.some(({ socket }) =>
    Predicate.hasProperty(socket, "bytesRead") && typeof socket.bytesRead === "number" && socket.bytesRead > 0
  )

interface Cause {
  readonly name?: unknown
  readonly message?: unknown
  readonly code?: unknown
  readonly syscall?: unknown
  readonly variable?: unknown
  readonly answer?: unknown
  readonly why?: unknown
  readonly socket?: unknown
  readonly cause?: unknown
  readonly errors?: unknown
}

// `fetch` wraps what happened in a TypeError, and a host with two addresses fails with an AggregateError of both.
const causesOf = (cause: unknown, depth = 0): ReadonlyArray<Cause> => {
  if (typeof cause !== "object" || cause === null || depth > 4) return []
  const { cause: inner, errors }: Cause = cause
  return [
    cause,
    ...causesOf(inner, depth + 1),
    ...(Array.isArray(errors) ? errors.flatMap((e) => causesOf(e, depth + 1)) : [])
  ]
}
