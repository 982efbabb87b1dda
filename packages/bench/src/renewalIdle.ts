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

export const run = Effect.fnUntraced(function*(): Effect.fn.Return<Report, never, Scope.Scope> {
  const found = new Map<Library, Found>()
  for (const library of libraries) {
    progress(`idle sessions: ${library}`)
    const { line } = yield* child("renewalIdleChild.ts", library, ["--expose-gc"])
    found.set(library, JSON.parse(yield* line))
  }
  const of = (library: Library): Found => found.get(library)!
  const most = ({ bytes, renewedBytes = bytes }: Found) => Math.max(bytes, renewedBytes)
  const ours = most(of("ours"))
  const { wakeUps = Number.NaN } = of("ours")
  return {
    title: "10,000 idle sessions in one process",
    columns: ["bytes per session", "after a renewal", "x ours", "wake-ups per minute"],
    rows: libraries.map((library) => [
      library,
      of(library).bytes.toFixed(0),
      of(library).renewedBytes?.toFixed(0) ?? absent,
      times(most(of(library)) / ours),
      of(library).wakeUps?.toFixed(2) ?? absent
    ]),
    goals: [
      { goal: "at most 2 KB per session", measured: ours.toFixed(0), isMet: ours <= 2048 },
      { goal: "at most one wake-up a minute", measured: wakeUps.toFixed(2), isMet: wakeUps <= 1 }
    ],
    notes: [
      "Two tokens of 44 characters in every session; in ours is the storage in memory. The peers have no scheduler: they",
      "renew when they are asked, and callers wait for it."
    ]
  }
})
