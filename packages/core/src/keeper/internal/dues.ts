/**
 * The sessions in the order in which they fall due: a binary heap in which each of them knows its place. One that is not
 * due at all stays in it, with an infinite time, so that nothing has to be taken out.
 */
import type { Kept } from "./kept.ts"

export interface Dues {
  /** When the first session falls due, in epoch milliseconds; infinite for never. */
  readonly next: () => number
  /** Notes when a session falls due. */
  readonly set: (kept: Kept, dueAt: number) => void
  /** The sessions that are due at `now`. They are due no longer, until they are set again. */
  readonly take: (now: number) => ReadonlyArray<Kept>
}

export const make = (): Dues => {
  const heap: Array<Kept> = []

  const put = (kept: Kept, place: number): void => {
    heap[place] = kept
    kept.place = place
  }

  const rise = (kept: Kept): void => {
    let place = kept.place
    while (place > 0) {
      const above = (place - 1) >> 1
      if (heap[above]!.dueAt <= kept.dueAt) break
      put(heap[above]!, place)
      place = above
    }
    put(kept, place)
  }

  const sink = (kept: Kept): void => {
    let place = kept.place
    while (true) {
      let below = 2 * place + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && heap[below + 1]!.dueAt < heap[below]!.dueAt) below += 1
      if (heap[below]!.dueAt >= kept.dueAt) break
      put(heap[below]!, place)
      place = below
    }
    put(kept, place)
  }

  const set = (kept: Kept, dueAt: number): void => {
    if (kept.place < 0) put(kept, heap.length)
    kept.dueAt = dueAt
    rise(kept)
    sink(kept)
  }

  return {
    next: () => heap[0]?.dueAt ?? Number.POSITIVE_INFINITY,
    set,
    take: (now) => {
      const due: Array<Kept> = []
      while (heap.length > 0 && heap[0]!.dueAt <= now) {
        due.push(heap[0]!)
        set(heap[0]!, Number.POSITIVE_INFINITY)
      }
      return due
    }
  }
}
