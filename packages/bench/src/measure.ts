// How long something takes, beside how long others take for the same.
import { Clock, Effect, Random } from "effect"

/** One contestant: `run` does its work `n` times. */
export interface Subject {
  readonly name: string
  readonly run: (n: number) => Effect.Effect<void>
}

export const sync = (name: string, work: (i: number) => unknown): Subject => ({
  name,
  run: (n) =>
    Effect.sync(() => {
      for (let i = 0; i < n; i++) work(i)
    })
})

export const promise = (name: string, work: (i: number) => Promise<unknown>): Subject => {
  const chain = (i: number, n: number): Promise<void> =>
    i === n ? Promise.resolve() : work(i).then(() => chain(i + 1, n))
  return { name, run: (n) => Effect.promise(() => chain(0, n)) }
}

export const effect = <E>(name: string, work: (i: number) => Effect.Effect<unknown, E>): Subject => ({
  name,
  run: Effect.fnUntraced(function*(n) {
    for (let i = 0; i < n; i++) yield* work(i)
  }, Effect.orDie)
})

const rounds = 31
const warmUpMillis = 80
const roundMillis = 15

const elapsedNanos = (subject: Subject, n: number) =>
  Effect.gen(function*() {
    const start = yield* Clock.monotonicTimeNanos
    yield* subject.run(n)
    return Number((yield* Clock.monotonicTimeNanos) - start)
  })

// How often the work fits into one round, found while it warms up.
const calibrate = Effect.fnUntraced(function*(subject: Subject) {
  let n = 1
  let spent = 0
  let perRun = Infinity
  while (spent < warmUpMillis * 1e6) {
    const nanos = yield* elapsedNanos(subject, n)
    spent += nanos
    perRun = nanos / n
    n = Math.max(1, Math.min(n * 4, Math.round(roundMillis * 1e6 / perRun)))
  }
  return n
})

/** The middle one of the values. */
export const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

/**
 * The nanoseconds that each subject took for one piece of work, round by round. The rounds are interleaved, in another
 * order each time, so that what disturbs the machine, or a neighbour leaves behind, disturbs all of them alike.
 */
export const measure = Effect.fnUntraced(function*(subjects: ReadonlyArray<Subject>) {
  const contestants = yield* Effect.forEach(
    subjects,
    (subject) => Effect.map(calibrate(subject), (n) => ({ subject, n, nanos: Array<number>() }))
  )
  for (let round = 0; round < rounds; round++) {
    for (const { n, nanos, subject } of yield* Random.shuffle(contestants)) {
      nanos.push((yield* elapsedNanos(subject, n)) / n)
    }
  }
  return new Map(contestants.map(({ nanos, subject }): [string, ReadonlyArray<number>] => [subject.name, nanos]))
})

/** How many times as fast one is as the other: the median of what each round says. */
export const ratio = (ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>): number =>
  median(ours.map((nanos, round) => theirs[round]! / nanos))
