/** A worker of a fleet: keeps asking for the sessions, one round after the other, until it is told to end. */
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { familyOf, keyOf } from "../chaos/fleet.ts"
import { keeper, type Orders } from "../chaos/program.ts"

const orders: Orders = JSON.parse(process.argv[2] ?? "")

const work = Effect.gen(function*() {
  const { open } = yield* SessionKeeper.SessionKeeper
  let next = orders.first
  const ask = Effect.suspend(() => {
    const kept = open(keyOf(orders, familyOf(next)))
    next = (next + orders.stride) % orders.sessions
    return Effect.andThen(kept.freshen, kept.forget)
  }).pipe(Effect.ignore)
  console.log("ready")
  yield* Effect.forEach(
    Array.from({ length: 8 }),
    () => Effect.repeat(ask, Schedule.spaced(orders.pace)),
    { concurrency: "unbounded", discard: true }
  )
})

// one that finds no store when it starts looks again
const fiber = Effect.runFork(
  Effect.retry(Effect.scoped(Effect.provide(work, keeper(orders))), Schedule.spaced("300 millis"))
)
process.once("SIGTERM", () => {
  fiber.interruptUnsafe()
  fiber.addObserver(() => process.exit(0))
})
// whoever started it has ended
process.stdin.once("end", () => process.exit(0)).resume()
