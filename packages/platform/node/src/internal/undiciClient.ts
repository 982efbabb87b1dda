/**
 * The `HttpClient` of Node and Deno. A program can be frozen between its last look at a deadline and the connection, and
 * what was queued goes out before any timer tells it of the time that has passed: so the time is looked at once more when
 * the request is about to be written.
 */
import { Deadline } from "@effect-authn/core/storage/SessionLock"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type * as Undici from "@effect/platform-node/Undici"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { LookupFunction } from "node:net"
import * as ContentCoding from "./contentCoding.ts"
import * as Proxy from "./proxy.ts"

/** A machine that sleeps stops the one clock, and whoever sets the time moves the other: the larger one counts. */
const stopwatch = (clock: Clock.Clock): () => number => {
  const wall = clock.currentTimeMillisUnsafe()
  const steady = clock.monotonicTimeNanosUnsafe()
  return () =>
    Math.max(clock.currentTimeMillisUnsafe() - wall, Number(clock.monotonicTimeNanosUnsafe() - steady) / 1_000_000)
}

/** Refuses to write a request after the deadline of the fiber that sends it. */
const inTime =
  ({ DecoratorHandler, errors }: typeof Undici): Undici.Dispatcher.DispatcherComposeInterceptor =>
  (dispatch) =>
  (options, handler) => {
    const fiber = Fiber.getCurrent()
    if (fiber === undefined) return dispatch(options, handler)
    const left = fiber.getRef(Deadline)()
    const elapsed = stopwatch(fiber.getRef(Clock.Clock))
    const timely: Undici.Dispatcher.DispatchHandler = new DecoratorHandler(handler)
    timely.onRequestStart = (controller, context) => {
      if (elapsed() < left) handler.onRequestStart?.(controller, context)
      else controller.abort(new errors.ConnectTimeoutError("connected when the time for the request was over"))
    }
    return dispatch(options, timely)
  }

const dispatcher = Effect.fnUntraced(function*(connecting: Proxy.Connecting) {
  const undici = yield* Effect.promise(() => import("@effect/platform-node/Undici"))
  const agent = yield* Effect.acquireRelease(
    Proxy.make(undici, connecting),
    (agent) => Effect.promise(() => agent.destroy())
  )
  return agent.compose(inTime(undici))
})

const undiciClient = Effect.map(NodeHttpClient.makeUndici, HttpClient.transformResponse(ContentCoding.decode))

/** A client with connections of its own, as long as its scope lives. */
export const make = (connecting: Proxy.Connecting): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.provideServiceEffect(undiciClient, NodeHttpClient.Dispatcher, dispatcher(connecting))

/**
 * Honours the variables for proxies, decodes what a server compressed, follows no redirects, and sends nothing after the
 * `Deadline` of its caller.
 */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.suspend(() => layerResolving())

/** The same, with names resolved by `lookup`. */
export const layerResolving = (lookup?: LookupFunction): Layer.Layer<HttpClient.HttpClient> =>
  Layer.provide(
    HttpClient.layerMergedContext(undiciClient),
    Layer.effect(NodeHttpClient.Dispatcher, dispatcher(lookup === undefined ? {} : { lookup }))
  )
