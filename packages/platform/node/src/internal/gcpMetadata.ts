/**
 * The metadata server of Google Cloud. It is asked at an address of this link, never by name, through no proxy and over no
 * redirect: whoever could move the question would get the answer.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Http from "node:http"
import * as SecretFile from "../SecretFile.ts"

/** What became of the question. */
export type Asked =
  | { readonly _tag: "Answered"; readonly status: number; readonly isGoogle: boolean; readonly text: string }
  /** No answer; `isThere` is whether somebody took the connection. */
  | { readonly _tag: "Nothing"; readonly detail: string; readonly isThere: boolean }

/** Where the server is: its own address, unless it is told another of this link or this machine. */
export const addressOf = (told: Option.Option<string>): Option.Option<URL> => {
  const host = Option.getOrElse(told, () => "169.254.169.254").trim()
  const url = URL.parse(/^http:\/\//i.test(host) ? host : `http://${host}`)
  if (url === null || url.username !== "" || url.password !== "" || url.pathname !== "/" || url.search !== "") {
    return Option.none()
  }
  // The names that are usual here; to resolve one would be to ask somebody where to ask.
  const name = url.hostname.replace(/\.$/, "")
  if (name === "metadata.google.internal" || name === "metadata") url.hostname = "169.254.169.254"
  if (name === "localhost") url.hostname = "127.0.0.1"
  return isNear.test(url.hostname) ? Option.some(url) : Option.none()
}

// `URL` has written every other form of these addresses in this one.
const isNear = /^(127\.\d+\.\d+\.\d+|169\.254\.\d+\.\d+|\[::1\]|\[fe[89ab][0-9a-f]:[0-9a-f:]*\])$/

/** Whether the firmware of this machine says that it is one of Google's. */
export const isGoogleMachine: Effect.Effect<boolean> = SecretFile.read("/sys/class/dmi/id/product_name").pipe(
  Effect.map((text) => Redacted.value(text).startsWith("Google")),
  Effect.orElseSucceed(() => false)
)

// A link-local address answers in less than a millisecond, or nobody is there.
const connectMillis = 300
const answerMillis = 3_000
const mostBytes = 64 * 1024

/** Asks once. It fails never; what did not come is `Nothing`. */
export const ask = (server: URL, path: string): Effect.Effect<Asked> =>
  Effect.callback<Asked>((resume) => {
    let isThere = false
    const nothing = (detail: string) => {
      resume(Effect.succeed({ _tag: "Nothing", detail, isThere }))
      request.destroy()
    }
    const request = Http.request({
      // An agent of its own knows no proxy.
      agent: new Http.Agent(),
      host: server.hostname.replace(/^\[|\]$/g, ""),
      port: server.port === "" ? 80 : server.port,
      path,
      timeout: connectMillis,
      headers: { host: server.host, "metadata-flavor": "Google" }
    }, (response) => {
      const chunks: Array<Buffer> = []
      let length = 0
      response.on("data", (chunk: Buffer) => {
        length += chunk.length
        if (length > mostBytes) nothing("its answer is longer than 64 KiB")
        else chunks.push(chunk)
      })
      response.on("error", () => nothing("its answer broke off"))
      response.on("close", () => nothing("its answer broke off"))
      response.on("end", () =>
        resume(Effect.succeed({
          _tag: "Answered",
          status: response.statusCode ?? 0,
          isGoogle: response.headers["metadata-flavor"] === "Google",
          text: Buffer.concat(chunks).toString()
        })))
    })
    request.on("timeout", () => nothing(`no connection within ${connectMillis} ms`))
    request.on("socket", (socket) =>
      socket.once("connect", () => {
        isThere = true
        socket.setTimeout(0)
      }))
    request.on("error", ({ code = "broken" }: NodeJS.ErrnoException) =>
      nothing(isThere ? `its answer cannot be read (${code})` : `no connection (${code})`))
    request.end()
    return Effect.sync(() =>
      request.destroy()
    )
  }).pipe(
    Effect.timeoutOrElse({
      duration: Duration.millis(answerMillis),
      // Without a connection it was over long before.
      orElse: () =>
        Effect.succeed<Asked>({ _tag: "Nothing", detail: `no answer within ${answerMillis} ms`, isThere: true })
    })
  )
