/** One IAM as a vault asks it: at the rate of its fleet, and not at all while it says that it cannot answer. */
import type { IamClient } from "@effect-authn/core/iam/IamClient"
import { IamError, Unavailable } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import * as Selection from "@effect-authn/core/session/Selection"
import type * as Session from "@effect-authn/core/session/Session"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import type { Permit, Rates } from "../IssuerRate.ts"

export type Issuer = Effect.Success<ReturnType<typeof make>>

const outOfTurn = "this vault's rate of renewals there is used up"

/** Whether nothing was sent because the vault's own rate left no room for it in time: the IAM has said nothing. */
export const isOutOfTurn = ({ reason }: IamError): boolean =>
  reason._tag === "Unavailable" && reason.detail === outOfTurn

// How long a caller waits for its turn. Above it is what the caller itself may take.
const patience = Duration.seconds(5)

// An IAM that fails is asked again after 1, 2, 4, … and at last every 60 seconds, or when it said it wants to be.
const pauses = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("1 minute")])

/** `permitOf` is the leave that somebody has drawn for the renewal of a session. */
export const make = Effect.fnUntraced(function*(options: {
  readonly iam: IamClient["Service"]
  readonly rates: Rates
  readonly permitOf: (id: string) => Permit | undefined
}) {
  const { iam, permitOf, rates } = options
  const { issuer } = iam
  const breaker = yield* CircuitBreaker.make({
    tripPolicy: CircuitBreaker.consecutive(5),
    openDuration: pauses,
    maxOpenDuration: "15 minutes"
  })
  const turn = Semaphore.makeUnsafe(1)
  let lastFailure: Option.Option<{ readonly at: DateTime.Utc; readonly detail: string }> = Option.none()

  const unavailable = (sent: "no" | "maybe", detail: string, retryAfter?: Duration.Duration) =>
    new IamError({
      issuer,
      method: "renew",
      reason: new Unavailable({ sent, detail, ...(retryAfter === undefined ? {} : { retryAfter }) })
    })

  // One at a time draws, so that those who wait do not ask the store all at once.
  const drawn = Effect.gen(function*() {
    for (;;) {
      const drawing = rates.draw(issuer, 1)
      if (drawing === undefined) return undefined
      // without the store nothing could be renewed in any case
      const found = yield* Effect.option(drawing)
      if (Option.isNone(found)) return undefined
      const [permit] = found.value.permits
      if (permit !== undefined) return permit
      yield* Effect.sleep(found.value.again)
    }
  }).pipe((drawing) => turn.withPermit(drawing))

  /** Until it may be sent, with what was drawn for it if that is not over. */
  const leave = Effect.fnUntraced(
    function*(given: Permit | undefined) {
      for (let permit = given ?? (yield* drawn); permit !== undefined; permit = yield* drawn) {
        const wait = permit.wait()
        if (wait > 0) yield* Effect.sleep(Duration.millis(wait))
        if (!permit.isOver()) return
      }
    },
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => Effect.fail(unavailable("no", outOfTurn, Duration.seconds(1)))
    })
  )

  const failureOf = (exit: Exit.Exit<unknown, IamError>) =>
    Option.flatMap(
      Exit.findErrorOption(exit),
      ({ reason }) => reason._tag === "Unavailable" ? Option.some(reason) : Option.none()
    )

  // A refusal of one session is an answer. So is what comes back of a selection that a caller made up: callers of some
  // sessions must not keep the others from their IAM.
  const classify = (isOwn: boolean) => (exit: Exit.Exit<Session.TokenResponse, IamError>) =>
    Option.match(Option.filter(failureOf(exit), ({ sent }) => isOwn || sent === "no"), {
      onNone: () => CircuitBreaker.success,
      onSome: ({ retryAfter }) => CircuitBreaker.failure({ retryAfter })
    })

  // The keeper's own time limit would interrupt the request, and an IAM that answers nobody would count as one that does.
  const limit = Duration.times(iam.policy.timeLimit, 0.98)

  const renew: IamClient["Service"]["renew"] = (session, target) =>
    iam.renew(session, target).pipe(
      IamHttp.inTime(
        limit,
        () => unavailable("maybe", `no answer within ${Duration.format(iam.policy.timeLimit)}`)
      ),
      Effect.onExit((exit) =>
        Option.match(failureOf(exit), {
          onNone: () => Effect.void,
          onSome: ({ detail }) =>
            Effect.map(DateTime.now, (at) => {
              lastFailure = Option.some({ at, detail })
            })
        })
      ),
      breaker.execute({ key: issuer, classify: classify(Selection.id(target) === Selection.id(session.current)) }),
      Effect.catchTag("CircuitBreakerError", ({ reason }) =>
        Effect.fail(
          reason._tag === "CircuitOpen"
            ? unavailable("no", "it did not answer several times in a row", reason.retryAfter)
            : unavailable("no", "it did not answer, and is being tried", Duration.seconds(1))
        )),
      (asked) => Effect.andThen(Effect.suspend(() => leave(permitOf(session.key.id))), asked)
    )

  /** Whether it answers, and until when it is not asked. */
  const state = breaker.state(issuer).pipe(
    Effect.orElseSucceed((): CircuitBreaker.State => ({ _tag: "Closed", key: issuer })),
    Effect.flatMap((found) =>
      Effect.map(DateTime.now, (now) => {
        const isPausing = found._tag === "Open" && Duration.toMillis(found.retryAfter) > 0
        return {
          issuer,
          clientId: iam.clientId,
          state: found._tag === "Closed" ? "answers" as const : isPausing ? "pauses" as const : "is tried" as const,
          until: isPausing ? Option.some(DateTime.addDuration(now, found.retryAfter)) : Option.none(),
          lastFailure
        }
      })
    )
  )

  return { client: { ...iam, renew }, state }
})
