/**
 * A page for the people who operate a vault: its IAMs, its sessions, what waits, and what failed last.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServer } from "effect/http/HttpServer"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as StatusPage from "./internal/statusPage.ts"
import * as Vault from "./Vault.ts"
import * as VaultMetrics from "./VaultMetrics.ts"

/**
 * How somebody gets to the page.
 *
 * @category services
 * @since 0.1.0
 */
export class VaultStatus extends Context.Service<VaultStatus, {
  /**
   * An address that opens the page in one browser, once and within ten minutes; that browser sees it for twelve hours
   * after. Each use makes a new one. It goes to the terminal of the person, never into a log.
   */
  readonly link: Effect.Effect<string>
}>()("@effect-authn/vault/VaultStatus") {}

const linkLife = Duration.toMillis("10 minutes")
const visitLife = Duration.hours(12)
// Four hours of a point every 15 seconds, as often as a sweeper measures.
const pointEvery = Duration.seconds(15)
const mostPoints = 960
const mostFailures = 50
const mostSampled = 2000
const sampleLife = Duration.minutes(1)

/** States of stored sessions. They lie in the order of a digest of their keys, so that the first ones are any ones. */
const sampled = Effect.fnUntraced(function*(vault: Vault.Vault["Service"]) {
  const states = new Map<string, Map<string, number>>()
  let count = 0
  let after: string | undefined
  let isWhole = false
  while (!isWhole && count < mostSampled) {
    const { next, sessions } = yield* vault.page({ limit: 500, after })
    for (const { key, state } of sessions) {
      const ofIssuer = states.get(key.issuer) ?? new Map<string, number>()
      states.set(key.issuer, ofIssuer)
      ofIssuer.set(state, (ofIssuer.get(state) ?? 0) + 1)
      count += 1
    }
    after = Option.getOrUndefined(next)
    isWhole = after === undefined
  }
  return { states, count, isWhole }
})

const make = Effect.gen(function*() {
  const vault = yield* Vault.Vault
  const router = yield* HttpRouter.HttpRouter
  const { address } = yield* HttpServer
  const random = yield* SecureRandom.SecureRandom
  if (!NetAddress.isInetAddress(address) || !NetAddress.isLoopback(address.address)) {
    return yield* Effect.die(
      new Error("VaultStatus listens on loopback only: give it a server of its own at 127.0.0.1 or ::1")
    )
  }
  const host = NetAddress.isInetAddressV6(address) ? `[::1]:${address.port}` : `127.0.0.1:${address.port}`
  const hosts = new Set([host, `localhost:${address.port}`])
  const secret = Effect.map(random.randomBytes(32), Base64Url.encode)
  // Browsers share cookies between the ports of a host, and other users of the machine may listen at one: they do not know
  // the path that the cookie is for.
  const cookie = `authn_vault_status_${address.port}`
  const place: `/${string}` = `/${yield* secret}/`

  const links = new Map<string, number>()
  const visits = new Map<string, number>()
  const admit = (held: Map<string, number>, name: string, until: number, now: number) => {
    for (const [other, end] of held) if (end <= now) held.delete(other)
    held.set(name, until)
  }

  const points: Array<StatusPage.Point> = []
  yield* Effect.all([Clock.currentTimeMillis, Metric.value(VaultMetrics.due), Metric.value(VaultMetrics.oldest)]).pipe(
    Effect.map(([at, due, oldest]) => {
      points.push({ at, due: due.value, oldest: oldest.value })
      if (points.length > mostPoints) points.shift()
    }),
    Effect.repeat(Schedule.spaced(pointEvery)),
    Effect.forkScoped
  )

  const failures: Array<Vault.Event> = []
  yield* Effect.forkScoped(Stream.runForEach(vault.events, (event) =>
    Effect.sync(() => {
      failures.unshift(event)
      if (failures.length > mostFailures) failures.pop()
    })))

  const sample = yield* Effect.cachedWithTTL(sampled(vault), sampleLife)

  const show = Effect.gen(function*() {
    const health = yield* Effect.option(vault.health)
    const states = yield* Effect.option(sample)
    const now = yield* DateTime.now
    return StatusPage.render({ now, health, states, points, failures, issuers: yield* vault.issuers })
  })

  /** Answers only who asks for this host: a name that was pointed here by somebody else's server is another one. */
  const atHome = (
    answer: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<HttpServerResponse.HttpServerResponse>
  ) =>
  (request: HttpServerRequest.HttpServerRequest) =>
    hosts.has(request.headers["host"] ?? "")
      ? answer(request)
      : Effect.succeed(StatusPage.note(421, "Not here", "This page is not at the address that was asked for."))

  const closed = StatusPage.note(
    403,
    "The page is closed",
    "Open it with a new link: the program that runs the vault prints one. Each link works once."
  )

  yield* router.add(
    "GET",
    "/open/:link",
    atHome(Effect.fnUntraced(function*(request) {
      const link = request.url.split("/").at(-1)?.split("?")[0] ?? ""
      const now = yield* Clock.currentTimeMillis
      const until = links.get(link)
      // Who looks ahead does not open it.
      if (request.method === "HEAD" || request.headers["sec-purpose"]?.includes("prefetch") === true) return closed
      links.delete(link)
      if (until === undefined || until <= now) return closed
      const visit = yield* secret
      admit(visits, visit, now + Duration.toMillis(visitLife), now)
      return HttpServerResponse.setCookieUnsafe(
        StatusPage.guarded(HttpServerResponse.redirect(place, { status: 303 })),
        cookie,
        visit,
        { path: place, httpOnly: true, sameSite: "lax", maxAge: visitLife }
      )
    }))
  )
  yield* router.add("GET", "/", atHome(() => Effect.succeed(closed)))
  yield* router.add(
    "GET",
    place,
    atHome(Effect.fnUntraced(function*(request) {
      const until = visits.get(request.cookies[cookie] ?? "")
      return until === undefined || until <= (yield* Clock.currentTimeMillis) ? closed : yield* show
    }))
  )

  return VaultStatus.of({
    link: Effect.gen(function*() {
      const link = yield* secret
      const now = yield* Clock.currentTimeMillis
      admit(links, link, now + linkLife, now)
      return `http://${host}/open/${link}`
    })
  })
})

/**
 * Serves the page on an `HttpServer` of its own, which listens on loopback or building it dies. Who asks for another host
 * than that is refused, since a browser can be led here by a name; and who has no link sees nothing. It changes nothing.
 *
 * **Details**
 *
 * It shows the IAMs of the table, sessions by state (counted in any 2,000 of them where there are more, once a minute), what
 * was due over the last four hours, and the last 50 things that happened to sessions in this process, with their accounts.
 * What is due is drawn from what a sweeper of the process measures. The page comes again by itself every 15 seconds.
 *
 * **Example** (At a port that is free)
 *
 * ```ts
 * import { VaultStatus } from "@effect-authn/vault"
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { createServer } from "node:http"
 *
 * export const status = VaultStatus.layer.pipe(
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<VaultStatus, never, Vault.Vault | HttpServer> = HttpRouter.serve(
  Layer.provide(Layer.effect(VaultStatus, make), SecureRandom.layerWebCrypto),
  { disableListenLog: true, disableLogger: true }
).pipe(
  // an address of this page opens it
  Layer.provide(Layer.succeed(HttpMiddleware.TracerDisabledWhen, () => true))
)
