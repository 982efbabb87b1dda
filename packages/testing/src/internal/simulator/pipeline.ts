/** @since 0.1.0 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { LedgerEntry, Route } from "../../SimulatorApi.ts"
import type { MutableEntry, State } from "./state.ts"

const routes: { readonly [methodAndPath: string]: Route } = {
  "POST /api/iam/v1/login": "login",
  "POST /api/iam/v1/authentication/login": "login",
  "GET /api/iam/v1/logout": "logout",
  "GET /api/iam/v1/authentication/logout": "logout",
  "GET /api/iam/v1/whoami": "whoami",
  "GET /api/iam/v1/me": "me",
  "GET /api/iam/v1/auth": "auth",
  "GET /api/iam/v1/ping": "ping",
  "GET /api/iam/v1/memberships": "memberships",
  "GET /api/iam/v1/oauth2/authz/url": "authz-url",
  "POST /api/v1/auth/login": "login",
  "POST /api/v1/auth/refresh-token": "refresh",
  "GET /whoami": "echo",
  "GET /.well-known/jwks.json": "jwks"
}

const routeOf = (method: string, path: string): LedgerEntry["route"] =>
  method === "OPTIONS"
    ? "preflight"
    : routes[`${method} ${path}`] ?? (/^\/api\/iam\/v1\/(tokens|api-keys)(\/|$)/.test(path) ? "tokens" : "unknown")

const isGenomcore = (path: string): boolean => path === "/whoami" || path.startsWith("/api/v1/")

const errorAnswer = (path: string, status: number, message: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(
    isGenomcore(path)
      ? { message, statusCode: status, details: [] }
      : { success: false, message, errors: [message] },
    { status }
  )

const page = HttpServerResponse.html("<!doctype html><title>Maintenance</title><p>We are back soon.")

// The client sees a connection that ends without an answer; the server then interrupts what still waits here.
const cut = Effect.flatMap(
  HttpServerRequest.HttpServerRequest,
  (request) => Effect.sync(() => NodeHttpServerRequest.toIncomingMessage(request).socket.destroy())
).pipe(
  Effect.andThen(Effect.interruptible(Effect.never))
)

// Browsers send credentials only where the answer names their origin.
const cors = HttpMiddleware.cors({
  // The header may be absent, whatever the type says.
  allowedOrigins: (origin: string | undefined) => origin !== undefined,
  allowedHeaders: ["authorization", "content-type", "cache-control", "pragma", "x-external-token"],
  credentials: true,
  maxAge: 600
})

type App<E = never> = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  E,
  HttpServerRequest.HttpServerRequest | Scope.Scope
>

/**
 * What every request goes through around the routes: the ledger, the preflight answers, the faults, the latency and the
 * simulator's own `Date`.
 */
export const around = <E>(state: State, app: App<E>): App => {
  const answered = (path: string): App =>
    Effect.catchCause(
      app,
      (cause) =>
        Effect.map(HttpServerError.causeResponse(cause), ([response]) =>
          response.status === 404 ? errorAnswer(path, 404, "There is no such route") : response)
    ).pipe(
      Effect.map((response) =>
        response.status === 201 ? HttpServerResponse.setStatus(response, state.knobs().successStatus) : response
      )
    )

  const withFaults = (entry: MutableEntry): App => {
    const fault = state.takeFault(entry.route)
    if (fault === undefined) {
      return answered(entry.path)
    }
    entry.note = typeof fault === "number" ? `fault ${fault}` : fault
    switch (fault) {
      case "drop":
        return cut
      case "lost":
        return Effect.andThen(answered(entry.path), cut)
      case "hang":
        return Effect.interruptible(Effect.never)
      case "html":
        return Effect.succeed(page)
      default:
        return Effect.succeed(errorAnswer(entry.path, fault, "The simulator was told to fail"))
    }
  }

  const dated = (response: HttpServerResponse.HttpServerResponse) =>
    Effect.map(
      state.now,
      (now) => HttpServerResponse.setHeader(response, "date", DateTime.toDateUtc(now).toUTCString())
    )

  return Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const path = request.url.split("?")[0]!
    if (path.startsWith("/__simulator/")) {
      return yield* cors(answered(path))
    }
    const authorization = request.headers["authorization"]
    const holder = state.known(Redacted.make(authorization?.replace(/^bearer +/i, "") ?? ""))
    const entry: MutableEntry = {
      at: yield* DateTime.now,
      method: request.method,
      path,
      route: routeOf(request.method, path),
      status: 0,
      authorization: authorization !== undefined,
      ...(holder === undefined ? {} : { subject: holder.account.handle })
    }
    state.record(request, entry)
    const response = yield* Effect.flatMap(cors(withFaults(entry)), dated)
    const { latency } = state.knobs()
    if (Duration.isGreaterThan(latency, Duration.zero)) {
      yield* Effect.interruptible(Effect.sleep(latency))
    }
    entry.status = response.status
    yield* Effect.logDebug(`${entry.method} ${entry.path} ${entry.status}`)
    return response
  })
}
