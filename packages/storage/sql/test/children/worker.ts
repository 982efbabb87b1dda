/** A worker of a fleet: keeps asking for sessions, as fast as it may, and says each second how it goes. */
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { keeper, keyOf, type Orders } from "../chaos/fleet.ts"

const orders: Orders = JSON.parse(process.argv[2] ?? "")

const main = Effect.gen(function*() {
  const { open } = yield* SessionKeeper.SessionKeeper
  const ask = Effect.gen(function*() {
    const kept = open(keyOf(orders, orders.families[yield* Random.nextIntBetween(0, orders.families.length - 1)] ?? ""))
    yield* kept.freshen
    yield* kept.forget
  }).pipe(Effect.ignore)
  console.log("ready")
  yield* Effect.forEach(
    Array.from({ length: 8 }),
    () => Effect.repeat(ask, Schedule.spaced(orders.pace)),
    { concurrency: "unbounded", discard: true }
  )
}).pipe(Effect.provide(keeper(orders)), Effect.scoped)

const fiber = Effect.runFork(main)
process.once("SIGTERM", () => {
  fiber.interruptUnsafe()
  fiber.addObserver(() => process.exit(0))
})
