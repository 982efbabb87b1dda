// What can happen to the sessions of two programs that share a storage, and how a history of it is drawn.
import { Arbitrary, Schema } from "effect"

/** One of the two programs. */
export const Who = Schema.Literals([0, 1])
export type Who = typeof Who.Type

const project = Schema.Literals(["", "a", "b"])

/** The moves, by name: a history is drawn from some of them only, or the rare ones would never meet. */
const moves = {
  Call: Schema.TaggedStruct("Call", { who: Who, project }),
  Refresh: Schema.TaggedStruct("Refresh", { who: Who, project }),
  Rejected: Schema.TaggedStruct("Rejected", { who: Who, nth: Schema.Literals([0, 1, 2]) }),
  Login: Schema.TaggedStruct("Login", { who: Who, person: Schema.Literals(["ada", "bob"]) }),
  LoginInMemory: Schema.TaggedStruct("LoginInMemory", { who: Who, person: Schema.Literals(["ada", "bob"]) }),
  Logout: Schema.TaggedStruct("Logout", { who: Who }),
  Whoami: Schema.TaggedStruct("Whoami", { who: Who, delay: Schema.Literals([0, 6_000, 40_000]) }),
  Export: Schema.TaggedStruct("Export", { who: Who }),
  Import: Schema.TaggedStruct("Import", { who: Who }),
  Interrupt: Schema.TaggedStruct("Interrupt", { nth: Schema.Literals([0, 1, 2]) }),
  Pass: Schema.TaggedStruct("Pass", { time: Schema.Literals([1, 400, 3_000, 40_000, 600_000, 3_300_000, 3_700_000]) }),
  Clock: Schema.TaggedStruct("Clock", { who: Who, offset: Schema.Literals([0, -3_600_000, 3_600_000, 10_800_000]) }),
  Answer: Schema.TaggedStruct("Answer", {
    how: Schema.Literals(["no", "maybe", "lost", "dead", "misconfigured", "spent", "busy"])
  }),
  Latency: Schema.TaggedStruct("Latency", { time: Schema.Literals([0, 300, 20_000, 60_000]) }),
  Life: Schema.TaggedStruct("Life", { time: Schema.Literals([60_000, 600_000, 3_600_000, 0]) }),
  DueOnArrival: Schema.TaggedStruct("DueOnArrival", {}),
  Disk: Schema.TaggedStruct("Disk", { how: Schema.Literals(["fine", "full", "unknown"]) }),
  Put: Schema.TaggedStruct("Put", { who: Who, how: Schema.Literals(["lost", "unknown", "late", "hangs", "slow"]) }),
  Reads: Schema.TaggedStruct("Reads", { who: Who, delay: Schema.Literals([0, 2_000, 8_000]) }),
  Hints: Schema.TaggedStruct("Hints", { who: Who, lost: Schema.Boolean }),
  HoldLock: Schema.TaggedStruct("HoldLock", { time: Schema.Literals([5_000, 40_000]) }),
  Freeze: Schema.TaggedStruct("Freeze", { who: Who }),
  Thaw: Schema.TaggedStruct("Thaw", { who: Who }),
  Restart: Schema.TaggedStruct("Restart", { who: Who, how: Schema.Literals(["crash", "end"]) })
}

export const Move = Schema.Union(Object.values(moves))
export type Move = typeof Move.Type
export type Named<Name extends Move["_tag"]> = Extract<Move, { readonly _tag: Name }>

/**
 * What holds for a whole history: the `lock` of the storage (a kernel's, one that ends under a holder that is away, or none
 * that excludes), whether the IAM answers a refresh token again for 30 seconds, and whether it rotates them.
 */
export const Setting = Schema.Struct({
  lock: Schema.Literals(["kernel", "kernel", "lease", "none"]),
  grace: Schema.Literals([0, 0, 30_000]),
  rotates: Schema.Literals([true, true, true, false])
})
export type Setting = Omit<typeof Setting.Type, "rotates"> & { readonly rotates?: boolean }

export interface History {
  readonly setting: Setting
  readonly moves: ReadonlyArray<Move>
}

const names = Object.keys(moves).filter((name): name is Move["_tag"] => name in moves)
// Without these nothing happens at all.
const always = ["Call", "Pass", "Refresh"] as const

const byName = new Map(names.map((name) => [name, Arbitrary.schema<Schema.Codec<Move, unknown>>(moves[name])]))
const arbitraryOf = (name: Move["_tag"]) => byName.get(name)!

/** A history of the moves of these names. */
export const movesOf = (names: ReadonlyArray<Move["_tag"]>): Arbitrary.Arbitrary<ReadonlyArray<Move>> =>
  Arbitrary.array(Arbitrary.flatMap(Arbitrary.schema(Schema.Literals(names)), arbitraryOf), {
    minLength: 4,
    maxLength: 24
  })

/** A setting, some of the moves, and a history of them. */
export const history: Arbitrary.Arbitrary<History> = Arbitrary.schema(
  Schema.Struct({
    setting: Setting,
    some: Schema.Array(Schema.Literals(names)).check(Schema.isMinLength(2), Schema.isMaxLength(6))
  })
).pipe(
  Arbitrary.flatMap(({ setting, some }) =>
    Arbitrary.map(movesOf([...always, ...some]), (moves) => ({ setting, moves }))
  )
)

/** The moves of which all short histories are played. */
export const essential: ReadonlyArray<Move> = [
  { _tag: "Call", who: 0, project: "" },
  { _tag: "Call", who: 1, project: "a" },
  { _tag: "Refresh", who: 1, project: "" },
  { _tag: "Login", who: 1, person: "bob" },
  { _tag: "Logout", who: 0 },
  { _tag: "Whoami", who: 0, delay: 6_000 },
  { _tag: "Answer", how: "lost" },
  { _tag: "Disk", how: "full" },
  { _tag: "Latency", time: 300 },
  { _tag: "Restart", who: 1, how: "crash" },
  { _tag: "Pass", time: 400 },
  { _tag: "Pass", time: 3_700_000 }
]

/** All histories of a length over some moves. */
export const allOf = (moves: ReadonlyArray<Move>, length: number): ReadonlyArray<ReadonlyArray<Move>> =>
  length === 0 ? [[]] : allOf(moves, length - 1).flatMap((before) => moves.map((move) => [...before, move]))
