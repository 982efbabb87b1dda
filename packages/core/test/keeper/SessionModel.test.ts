// Random interleavings of everything that can happen to a session, against the promises of the keeper.
import {
  type AuthError,
  AuthManager,
  IamClient,
  IamError,
  Selection,
  type Session,
  TokenSet,
  TokenStorage
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { assert, it } from "@effect/vitest"
import {
  Arbitrary,
  Clock,
  Context,
  DateTime,
  Duration,
  Effect,
  Exit,
  type Fiber,
  Layer,
  Logger,
  Option,
  Redacted,
  Ref,
  Schema
} from "effect"
import { TestClock } from "effect/testing"
import * as fixtures from "../fixtures.ts"

const who = Schema.Literals([0, 1])
const where = Schema.Literals(["", "a", "b"])

const Step = Schema.Union([
  Schema.TaggedStruct("Call", { who, where }),
  Schema.TaggedStruct("Call", { who, where }),
  Schema.TaggedStruct("Refresh", { who, where }),
  Schema.TaggedStruct("Login", { who }),
  Schema.TaggedStruct("Logout", { who }),
  Schema.TaggedStruct("Interrupt", { nth: Schema.Literals([0, 1, 2]) }),
  Schema.TaggedStruct("Pass", { time: Schema.Literals([1, 400, 3_000, 40_000, 600_000, 3_300_000, 3_700_000]) }),
  Schema.TaggedStruct("Jump", { hours: Schema.Literals([3, -3]) }),
  Schema.TaggedStruct("Fail", { how: Schema.Literals(["no", "maybe", "lost", "dead", "misconfigured"]) }),
  Schema.TaggedStruct("Slow", { latency: Schema.Literals([0, 300, 20_000, 60_000]) }),
  Schema.TaggedStruct("Disk", { failing: Schema.Boolean }),
  Schema.TaggedStruct("Amend", { who })
])
type Step = typeof Step.Type

const failures: Record<Extract<Step, { _tag: "Fail" }>["how"], ScriptedIam.Failure> = {
  no: { reason: new IamError.Unavailable({ sent: "no", detail: "down" }) },
  maybe: { reason: new IamError.Unavailable({ sent: "maybe", detail: "cut" }) },
  lost: { reason: new IamError.Unavailable({ sent: "maybe", detail: "cut" }), answerLost: true },
  dead: { reason: new IamError.GrantDead({ detail: "invalid_grant" }) },
  misconfigured: { reason: new IamError.Misconfigured({ detail: "invalid_client" }) }
}

interface Handed {
  readonly who: number
  readonly selection: string
  readonly began: number
  ended: number
  readonly number: number
}

/** Renewals under way at the same time, by whatever clock: one grant, so one at most. */
class InFlight extends Context.Service<InFlight, Ref.Ref<{ readonly now: number; readonly most: number }>>()(
  "@effect-authn/core/test/keeper/SessionModel.test/InFlight"
) {}

const numberOf = (tokens: TokenSet.TokenSet) => Number(Redacted.value(tokens.accessToken).replace("access-", ""))

/** A program with its own memory and scheduler, over the IAM and the storage that all share. */
const program = Effect.map(
  Layer.build(Layer.fresh(fixtures.program)),
  (context) => Context.get(context, AuthManager.AuthManager)
)

/** Runs one history and answers with the promise that it broke, if any. */
const run = Effect.fnUntraced(function*(steps: ReadonlyArray<Step>) {
  const broken: Array<string> = []
  const iam = yield* ScriptedIam.ScriptedIam
  const { failing } = yield* fixtures.Faults
  const storage = yield* TokenStorage.TokenStorage
  const programs = [yield* program, yield* program] as const
  const key = programs[0].key
  let sequence = 0
  let latest = 0
  const handed: Array<Handed> = []
  const calls: Array<Fiber.Fiber<unknown, unknown>> = []
  const others: Array<Fiber.Fiber<unknown, unknown>> = []
  /** The logins and logouts, as they began and ended; `failed` where nothing can be said of the outcome. */
  const changes: Array<{ readonly kind: "in" | "out"; readonly began: number; ended: number; ok: boolean }> = []

  const call = (index: 0 | 1, project: string) =>
    Effect.gen(function*() {
      const program = programs[index]
      const began = ++sequence
      const asked = project === "" ? program.token : program.tokenFor({ project })
      const exit = yield* Effect.exit(asked)
      if (Exit.isSuccess(exit)) {
        const selection = project === "" ? "" : Selection.id(Selection.make({ project }))
        handed.push({ who: index, selection, began, ended: ++sequence, number: numberOf(exit.value) })
        if (!TokenSet.isValid(exit.value, yield* DateTime.now)) broken.push("a token that has expired was handed out")
        return
      }
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      if (error === undefined || error._tag === "NotAuthenticated") return
      const session = yield* Effect.orElseSucceed(program.session, () => Option.none<Session.Session>())
      const now = yield* DateTime.now
      const has = Option.exists(session, (held) => {
        const selection = project === "" ? held.current : Selection.refine(held.current, { project })
        const tokens = held.tokens[Selection.id(selection)]
        return tokens !== undefined && TokenSet.isValid(tokens, now)
      })
      if (has) broken.push(`a valid token was withheld: ${error.message}`)
    })

  const change = (kind: "in" | "out", effect: Effect.Effect<unknown, AuthError.AuthError>) =>
    Effect.gen(function*() {
      const entry = { kind, began: ++sequence, ended: Number.POSITIVE_INFINITY, ok: false }
      changes.push(entry)
      const exit = yield* Effect.exit(effect)
      entry.ended = ++sequence
      entry.ok = Exit.isSuccess(exit)
    })

  const fork = (list: Array<Fiber.Fiber<unknown, unknown>>, effect: Effect.Effect<unknown>) =>
    Effect.map(Effect.forkScoped(effect, { startImmediately: true }), (fiber) => {
      list.push(fiber)
    })

  const at = (index: 0 | 1) => programs[index]
  for (const step of steps) {
    switch (step._tag) {
      case "Call":
        yield* fork(calls, call(step.who, step.where))
        break
      case "Refresh":
        yield* fork(
          calls,
          Effect.ignore(at(step.who).refresh(step.where === "" ? undefined : { project: step.where }))
        )
        break
      case "Login":
        yield* fork(others, change("in", at(step.who).login(fixtures.passwordLogin)))
        break
      case "Logout":
        yield* fork(others, change("out", at(step.who).logout))
        break
      case "Interrupt": {
        const fiber = calls[calls.length - 1 - step.nth]
        if (fiber !== undefined) fiber.interruptUnsafe()
        break
      }
      case "Pass":
        yield* TestClock.adjust(step.time)
        break
      case "Jump":
        latest = Math.max(latest, yield* Clock.currentTimeMillis)
        yield* TestClock.setTime(
          Math.max(0, (yield* Clock.currentTimeMillis) + Duration.toMillis(Duration.hours(step.hours)))
        )
        break
      case "Fail":
        yield* iam.failNext("renew", failures[step.how])
        break
      case "Slow":
        yield* iam.set({ latency: Duration.millis(step.latency) })
        break
      case "Disk":
        yield* Ref.set(failing, step.failing ? "writes" : "nothing")
        break
      case "Amend":
        yield* fork(others, Effect.ignore(at(step.who).refreshUser))
        break
    }
    yield* Effect.yieldNow
  }

  // to rest: a disk that works, an IAM that answers, and time for all that is under way
  yield* Ref.set(failing, "nothing")
  yield* iam.set({ latency: Duration.zero })
  // the test's clock counts a sleep by the wall: one that began before a jump back ends when that time has come again
  yield* TestClock.setTime(Math.max(latest, yield* Clock.currentTimeMillis))
  for (let minutes = 0; [...calls, ...others].some((fiber) => fiber.pollUnsafe() === undefined); minutes++) {
    if (minutes > 60) return ["somebody waits for ever"]
    yield* TestClock.adjust("1 minute")
  }
  yield* TestClock.adjust("3 minutes")

  const stored = yield* storage.get(key)
  const sessions = [yield* programs[0].session, yield* programs[1].session]
  // A logout that could not remove the document has ended the session in its own program only.
  const isLeftBehind = changes.some((one) => one.kind === "out" && !one.ok)
  for (const session of sessions) {
    if (
      !isLeftBehind &&
      Option.getOrUndefined(session)?.generation !== Option.getOrUndefined(stored)?.generation
    ) broken.push("memory and storage do not agree at rest")
  }

  // Where the disk failed, a program could not tell the other one what it knew.
  const diskFailed = steps.some((step) => step._tag === "Disk" && step.failing)
  const last = changes.reduce<typeof changes[number] | undefined>(
    (last, one) => last === undefined || one.began > last.began ? one : last,
    undefined
  )
  if (
    !diskFailed && last?.kind === "out" && last.ok && changes.every((one) => one === last || one.ended < last.began)
  ) {
    if (Option.isSome(stored)) broken.push("what was signed out came back")
  }

  for (const [index, one] of handed.entries()) {
    for (const other of handed.slice(0, index)) {
      if (
        (other.who === one.who || !diskFailed) && other.selection === one.selection && one.began > other.ended &&
        one.number < other.number
      ) broken.push("a token older than the last one was handed out")
    }
  }

  const renewals = (yield* iam.calls).filter((entry) => entry.method === "renew")
  if ((yield* Ref.get(yield* InFlight)).most > 1) broken.push("two renewals were in flight")
  const dead = new Set<number>()
  for (const entry of renewals) {
    if (entry.refreshToken === undefined) continue
    if (dead.has(entry.refreshToken) && !diskFailed) {
      broken.push("a dead grant was sent again")
    }
    if (entry.outcome === "GrantDead") dead.add(entry.refreshToken)
  }
  return broken
})

const counted = Layer.effectContext(Effect.gen(function*() {
  const iam = yield* IamClient.IamClient
  const inFlight = yield* Ref.make({ now: 0, most: 0 })
  const renew: typeof iam.renew = (session, selection) =>
    Effect.acquireUseRelease(
      Ref.update(inFlight, ({ most, now }) => ({ now: now + 1, most: Math.max(most, now + 1) })),
      () => iam.renew(session, selection),
      () => Ref.update(inFlight, ({ most, now }) => ({ now: now - 1, most }))
    )
  return Context.make(IamClient.IamClient, IamClient.IamClient.of({ ...iam, renew })).pipe(
    Context.add(InFlight, inFlight)
  )
})).pipe(Layer.provideMerge(ScriptedIam.layer({ rotation: "strict", tokens: "opaque" })))

const fresh = Layer.mergeAll(
  fixtures.scheduledOver(counted),
  Logger.layer([])
).pipe(Layer.provideMerge(TestClock.layer()))

const runs = Number(process.env["EFFECT_AUTHN_MODEL_RUNS"] ?? (process.env["CI"] === undefined ? 1_000 : 10_000))

it.live(`the promises hold in ${runs} random histories`, () =>
  Effect.gen(function*() {
    const steps = Arbitrary.array(Arbitrary.schema(Step), { minLength: 4, maxLength: 24 })
    const result = yield* Arbitrary.checkEffect(
      steps,
      (history) =>
        Effect.gen(function*() {
          const login: Step = { _tag: "Login", who: 0 }
          const broken = yield* run([login, ...history]).pipe(Effect.scoped, Effect.provide(fresh, { local: true }))
          if (broken.length > 0) return yield* Effect.fail(broken.join("; "))
          return true
        }),
      { runs, size: 24 }
    )
    assert.strictEqual(Arbitrary.formatCheckFailure(result), undefined)
  }), 600_000)
