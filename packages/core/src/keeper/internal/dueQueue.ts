/**
 * The sessions in the order in which they fall due: a binary heap in which each of them knows its place. One that is not
 * due at all stays in it, with an infinite time; only one that is forgotten is taken out.
 */
export interface Member {
  /** When the member falls due, in epoch milliseconds, and its place in the heap; -1 outside of it. */
  dueAt: number
  heapIndex: number
}

export interface DueQueue<M extends Member> {
  /** When the first member falls due, in epoch milliseconds; infinite for never. */
  readonly next: () => number
  /** Notes when a member falls due. */
  readonly set: (member: M, dueAt: number) => void
  /** Takes out a member. */
  readonly remove: (member: M) => void
  /** The first member, if it is due at `now`. It is due no longer, until it is set again. */
  readonly take: (now: number) => M | undefined
}

export const make = <M extends Member>(): DueQueue<M> => {
  const heap: Array<M> = []

  const put = (member: M, index: number): void => {
    heap[index] = member
    member.heapIndex = index
  }

  const rise = (member: M): void => {
    let index = member.heapIndex
    while (index > 0) {
      const above = (index - 1) >> 1
      if (heap[above]!.dueAt <= member.dueAt) break
      put(heap[above]!, index)
      index = above
    }
    put(member, index)
  }

  const sink = (member: M): void => {
    let index = member.heapIndex
    while (true) {
      let below = 2 * index + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && heap[below + 1]!.dueAt < heap[below]!.dueAt) below += 1
      if (heap[below]!.dueAt >= member.dueAt) break
      put(heap[below]!, index)
      index = below
    }
    put(member, index)
  }

  const set = (member: M, dueAt: number): void => {
    if (member.heapIndex < 0) put(member, heap.length)
    member.dueAt = dueAt
    rise(member)
    sink(member)
  }

  return {
    next: () => heap[0]?.dueAt ?? Number.POSITIVE_INFINITY,
    set,
    remove: (member) => {
      const { heapIndex } = member
      if (heapIndex < 0) return
      const last = heap.pop()!
      member.heapIndex = -1
      if (last === member) return
      put(last, heapIndex)
      rise(last)
      sink(last)
    },
    take: (now) => {
      const first = heap[0]
      if (first === undefined || first.dueAt > now) return undefined
      set(first, Number.POSITIVE_INFINITY)
      return first
    }
  }
}
