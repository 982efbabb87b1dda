// Sessions that nobody uses: what each of them costs in memory, and how often the scheduler wakes for all of them.
import { Effect, type Scope } from "effect"
import { child } from "./renewalProcesses.ts"
import { absent, progress, type Report, times } from "./renewalReport.ts"

export const sessions = 10_000

const libraries = ["ours", "google", "msal", "cycler"] as const
export type Library = typeof libraries[number]

/** What one process found: bytes of each session, fresh and after a renewal, and wake-ups per minute of all of them. */
export interface Found {
  readonly bytes: number
  readonly renewedBytes?: number
  readonly wakeUps?: number
}

// The heap is the same each time, but for some bytes.
const runs = 2

export const run = Effect.fnUntraced(function*(): Effect.fn.Return<Report, never, Scope.Scope> {
  const found = new Map<Library, ReadonlyArray<Found>>()
  for (const library of libraries) {
    progress(`idle sessions: ${library}`)
    found.set(
      library,
      yield* Effect.replicateEffect(
        Effect.scoped(Effect.gen(function*() {
          const { line } = yield* child("renewalIdleChild.ts", library, ["--expose-gc"])
          return JSON.parse(yield* line) as Found
        })),
        runs
      )
    )
  }
  const most = (library: Library, of: (found: Found) => number | undefined) =>
    Math.max(...found.get(library)!.map((one) => of(one) ?? 0))
  const bytes = (library: Library) => most(library, ({ bytes, renewedBytes = bytes }) => Math.max(bytes, renewedBytes))
  const wakeUps = most("ours", ({ wakeUps }) => wakeUps)
  return {
    title: "10,000 idle sessions in one process",
    columns: ["bytes per session", "after a renewal", "x ours", "wake-ups per minute"],
    rows: libraries.map((library) => [
      library,
      most(library, ({ bytes }) => bytes).toFixed(0),
      library === "ours" ? most(library, ({ renewedBytes }) => renewedBytes).toFixed(0) : absent,
      times(bytes(library) / bytes("ours")),
      library === "ours" ? wakeUps.toFixed(2) : absent
    ]),
    goals: [
      { goal: "at most 2 KB per session", measured: bytes("ours").toFixed(0), isMet: bytes("ours") <= 2048 },
      { goal: "at most one wake-up a minute", measured: wakeUps.toFixed(2), isMet: wakeUps <= 1 }
    ],
    notes: [
      `The greatest of ${runs} processes each; two tokens of 44 characters in every session. In ours is the storage in`,
      "memory. The peers have no scheduler: they renew when they are asked, and callers wait for it."
    ]
  }
})
