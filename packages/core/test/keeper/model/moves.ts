// What can happen to the sessions of two programs that share a storage, and how a history of it is drawn.
import { Arbitrary, Schema } from "effect"

/** One of the two programs. */
export const Who = Schema.Literals([0, 1])
export type Who = typeof Who.Type

const Person = Schema.Literals(["ada", "bob"])

const project = Schema.Literals(["", "a", "b"])

/** The moves, by name: a history is drawn from some of them only, or the rare ones would never meet. */
const moves = {
  Call: Schema.TaggedStruct("Call", { who: Who, project }),
  Refresh: Schema.TaggedStruct("Refresh", { who: Who, project }),
  Rejected: Schema.TaggedStruct("Rejected", { who: Who, nth: Schema.Literals([0, 1, 2]) }),
  Login: Schema.TaggedStruct("Login", {
    who: Who,
    person: Person,
    revokePrevious: Schema.optionalKey(Schema.Literal(true))
  }),
  LoginInMemory: Schema.TaggedStruct("LoginInMemory", { who: Who, person: Person }),
  Logout: Schema.TaggedStruct("Logout", { who: Who }),
  Whoami: Schema.TaggedStruct("Whoami", { who: Who, delay: Schema.Literals([0, 6_000, 40_000]) }),
  Export: Schema.TaggedStruct("Export", { who: Who }),
  Import: Schema.TaggedStruct("Import", { who: Who }),
  Interrupt: Schema.TaggedStruct("Interrupt", { nth: Schema.Literals([0, 1, 2]) }),
  Pass: Schema.TaggedStruct("Pass", { time: Schema.Literals([1, 400, 3_000, 40_000, 600_000, 3_300_000, 3_700_000]) }),
  Clock: Schema.TaggedStruct("Clock", { who: Who, offset: Schema.Literals([0, -3_600_000, 3_600_000, 10_800_000]) }),
  Answer: Schema.TaggedStruct("Answer", {
    how: Schema.Literals(["no", "maybe", "lost", "dead", "misconfigured", "spent", "refused", "busy", "decade"])
  }),
  Latency: Schema.TaggedStruct("Latency", { time: Schema.Literals([0, 300, 20_000, 60_000]) }),
  Life: Schema.TaggedStruct("Life", { time: Schema.Literals([60_000, 600_000, 3_600_000, 0]) }),
  DueOnArrival: Schema.TaggedStruct("DueOnArrival", {}),
  Disk: Schema.TaggedStruct("Disk", { how: Schema.Literals(["fine", "full", "brim", "unknown"]) }),
  Put: Schema.TaggedStruct("Put", {
    who: Who,
    how: Schema.Literals(["full", "lost", "unknown", "late", "hangs", "slow"])
  }),
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

/**
 * Moves that lead up to a state which they would seldom reach by themselves: what follows is drawn. `who` is one of the
 * programs, `other` the other one.
 */
const phrases = {
  /** An answer that its program could not store, and a disk that works again. */
  UnsavedAnswer: ({ who }) => [
    { _tag: "Disk", how: "brim" },
    { _tag: "Refresh", who, project: "" },
    { _tag: "Pass", time: 3_000 },
    { _tag: "Disk", how: "fine" }
  ],
  UnsavedLogin: ({ person, who }) => [{ _tag: "Put", who, how: "full" }, { _tag: "Login", who, person }],
  /** A login over an answer that its program could not store. */
  LoginOverUnsaved: ({ person, who }) => [
    { _tag: "Disk", how: "brim" },
    { _tag: "Refresh", who, project: "" },
    { _tag: "Pass", time: 1 },
    { _tag: "Disk", how: "fine" },
    { _tag: "Login", who, person, revokePrevious: true }
  ],
  /** A sibling's logout beside an answer that its program could not store. */
  LogoutBesideUnsaved: ({ other, who }) => [
    { _tag: "Disk", how: "brim" },
    { _tag: "Refresh", who, project: "" },
    { _tag: "Pass", time: 1 },
    { _tag: "Disk", how: "fine" },
    { _tag: "Logout", who: other }
  ],
  /** A login that could not be stored, and whose grant is refused for good. */
  DeadLogin: ({ person, who }) => [
    { _tag: "Disk", how: "full" },
    { _tag: "Login", who, person },
    { _tag: "Answer", how: "dead" },
    { _tag: "Refresh", who, project: "" },
    { _tag: "Pass", time: 3_000 },
    { _tag: "Disk", how: "fine" }
  ],
  /** A renewal during which the other program writes, of which the first one does not hear. */
  AmendedUnderWay: ({ other, who }) => [
    { _tag: "Call", who: other, project: "" },
    { _tag: "Hints", who, lost: true },
    { _tag: "Latency", time: 300 },
    { _tag: "Refresh", who, project: "" },
    { _tag: "Latency", time: 0 },
    { _tag: "Whoami", who: other, delay: 0 },
    { _tag: "Pass", time: 400 }
  ],
  /** The same, and the IAM refuses without spending. */
  RefusedUnderWay: ({ other, who }) => [
    { _tag: "Call", who: other, project: "" },
    { _tag: "Hints", who, lost: true },
    { _tag: "Answer", how: "no" },
    { _tag: "Latency", time: 300 },
    { _tag: "Refresh", who, project: "" },
    { _tag: "Latency", time: 0 },
    { _tag: "Whoami", who: other, delay: 0 },
    { _tag: "Pass", time: 400 }
  ],
  RenewalUnderWay: ({ who }) => [{ _tag: "Latency", time: 300 }, { _tag: "Refresh", who, project: "" }],
  /** A login for this program only, during a renewal of the session that is stored. */
  LoginInMemoryUnderWay: ({ person, who }) => [
    { _tag: "Latency", time: 300 },
    { _tag: "Refresh", who, project: "" },
    { _tag: "Latency", time: 0 },
    { _tag: "LoginInMemory", who, person },
    { _tag: "Pass", time: 400 }
  ],
  /** A logout that cannot have the lock. */
  HeldLogout: ({ who }) => [{ _tag: "HoldLock", time: 40_000 }, { _tag: "Logout", who }],
  /** A login that cannot be stored either, over a session that could not be signed out. */
  LoginOverLeft: ({ person, who }) => [
    { _tag: "Disk", how: "full" },
    { _tag: "Logout", who },
    { _tag: "Login", who, person },
    { _tag: "Pass", time: 400 },
    { _tag: "Disk", how: "fine" }
  ],
  /** A program alone with an IAM that does not want to be asked. */
  LeftAlone: ({ other, who }) => [
    { _tag: "Restart", who: other, how: "end" },
    { _tag: "Answer", how: "decade" },
    { _tag: "Refresh", who, project: "" }
  ],
  DueAtOnce: ({ who }) => [{ _tag: "DueOnArrival" }, { _tag: "Refresh", who, project: "" }],
  /** A write that is under way while the others go on. */
  SlowWrite: ({ who }) => [{ _tag: "Put", who, how: "slow" }, { _tag: "Whoami", who, delay: 0 }],
  /** A read that ends long after it began. */
  SlowRead: ({ who }) => [
    { _tag: "Restart", who, how: "end" },
    { _tag: "Hints", who, lost: true },
    { _tag: "Reads", who, delay: 8_000 },
    { _tag: "Call", who, project: "" },
    { _tag: "Reads", who, delay: 0 }
  ],
  /** A logout while its hearer takes up, slowly, what it had not heard of before. */
  OvertakenRead: ({ other, who }) => [
    { _tag: "Call", who, project: "" },
    { _tag: "Hints", who, lost: true },
    { _tag: "Refresh", who: other, project: "" },
    { _tag: "Pass", time: 1 },
    { _tag: "Hints", who, lost: false },
    { _tag: "Reads", who, delay: 2_000 },
    { _tag: "Refresh", who, project: "" },
    { _tag: "Pass", time: 400 },
    { _tag: "Logout", who: other },
    { _tag: "Pass", time: 3_000 },
    { _tag: "Reads", who, delay: 0 }
  ],
  /** A login by a program that has seen nothing of the one before, of which the other one does not hear. */
  UnheardLogin: ({ person, other, who }) => [
    { _tag: "Call", who: other, project: "" },
    { _tag: "Hints", who: other, lost: true },
    { _tag: "Logout", who },
    { _tag: "Restart", who, how: "end" },
    { _tag: "Login", who, person }
  ],
  /** A logout of a login that could not be stored, on a disk that is still full. */
  LogoutOfUnsaved: ({ person, who }) => [
    { _tag: "Disk", how: "full" },
    { _tag: "Login", who, person },
    { _tag: "Logout", who },
    { _tag: "Call", who, project: "" },
    { _tag: "Disk", how: "fine" }
  ],
  /** A login while the clock was ahead. */
  LoginAhead: ({ person, who }) => [
    { _tag: "Clock", who, offset: 3_600_000 },
    { _tag: "Login", who, person },
    { _tag: "Clock", who, offset: 0 }
  ],
  /** A session that was brought as a document, which is at hand again. */
  Copy: ({ who }) => [{ _tag: "Export", who }, { _tag: "Import", who }]
} satisfies Record<
  string,
  (drawn: { readonly who: Who; readonly other: Who; readonly person: typeof Person.Type }) => ReadonlyArray<Move>
>

type Name = keyof typeof moves | keyof typeof phrases

const moveNames = Object.keys(moves).filter((name): name is keyof typeof moves => name in moves)
const phraseNames = Object.keys(phrases).filter((name): name is keyof typeof phrases => name in phrases)
// Without these nothing happens at all.
const always = ["Call", "Pass", "Refresh"] as const

const drawn = Arbitrary.schema(Schema.Struct({ who: Who, person: Person }))

const byName = new Map<string, Arbitrary.Arbitrary<ReadonlyArray<Move>>>([
  ...Object.entries(moves).map(([name, move]) =>
    [name, Arbitrary.map(Arbitrary.schema<Schema.Codec<Move, unknown>>(move), (move) => [move])] as const
  ),
  ...Object.entries(phrases).map(([name, phrase]) =>
    [name, Arbitrary.map(drawn, ({ person, who }) => phrase({ who, other: who === 0 ? 1 : 0, person }))] as const
  )
])
const arbitraryOf = (name: Name) => byName.get(name)!

/** A history of the moves and phrases of these names. */
export const movesOf = (names: ReadonlyArray<Name>): Arbitrary.Arbitrary<ReadonlyArray<Move>> =>
  Arbitrary.map(
    Arbitrary.array(Arbitrary.flatMap(Arbitrary.schema(Schema.Literals(names)), arbitraryOf), {
      minLength: 4,
      maxLength: 24
    }),
    (parts) => parts.flat()
  )

/** A setting, some of the moves and phrases, and a history of them. */
export const history: Arbitrary.Arbitrary<History> = Arbitrary.schema(
  Schema.Struct({
    setting: Setting,
    some: Schema.Array(Schema.Literals(moveNames)).check(Schema.isMinLength(1), Schema.isMaxLength(5)),
    led: Schema.Array(Schema.Literals(phraseNames)).check(Schema.isMinLength(2), Schema.isMaxLength(4))
  })
).pipe(
  Arbitrary.flatMap(({ led, setting, some }) =>
    Arbitrary.map(movesOf([...always, ...some, ...led]), (moves) => ({ setting, moves }))
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
