/** What an IAM or another service has taught of its limits, as `RateLimiter` of effect keeps it: a function per event. */
import * as Duration from "effect/Duration"
import type * as RateLimiter from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"

const State = Schema.fromJsonString(Schema.Struct({
  phase: Schema.Literals(["cooldown", "learning", "learned"]),
  epoch: Schema.Finite,
  cooldownUntil: Schema.Finite,
  startedAt: Schema.Finite,
  tokens: Schema.Finite,
  limit: Schema.Finite,
  window: Schema.Finite
}))

export type State = typeof State.Type
export const decode = Schema.decodeUnknownOption(State)
export const encode = Schema.encodeSync(State)

/** How long a state is kept after it has said its last. */
export const grace = 60_000
const longest = 3_600_000

const clamp = (millis: number): number => Number.isNaN(millis) || millis <= 0 ? 1 : Math.min(millis, longest)

const cooldown = (epoch: number, cooldownUntil: number): State => ({
  phase: "cooldown",
  epoch,
  cooldownUntil,
  startedAt: 0,
  tokens: 0,
  limit: 0,
  window: 0
})

/** What becomes of a state, when it ends (epoch milliseconds), and what whoever asked is told. */
export interface Step<A> {
  readonly next: State | undefined
  readonly endsAt: number
  readonly answer: A
}

export const consume = (
  state: State | undefined,
  now: number,
  options: RateLimiter.AdaptiveConsumeOptions
): Step<RateLimiter.AdaptiveConsumeResult> => {
  const answer = (epoch: number, phase: RateLimiter.AdaptivePhase, millis = 0) => ({
    delay: Duration.millis(Math.max(0, millis)),
    epoch,
    phase
  })
  if (state === undefined) return { next: undefined, endsAt: 0, answer: answer(0, "inactive") }
  const { epoch } = state
  switch (state.phase) {
    case "cooldown": {
      if (state.cooldownUntil > now) {
        return {
          next: state,
          endsAt: state.cooldownUntil + grace,
          answer: answer(epoch, "cooldown", state.cooldownUntil - now)
        }
      }
      const next: State = {
        ...state,
        phase: "learning",
        epoch: epoch + 1,
        startedAt: now,
        tokens: options.tokens,
        limit: 0,
        window: 0
      }
      return {
        next,
        endsAt: now + Duration.toMillis(options.fallbackWindow) + grace,
        answer: answer(next.epoch, "learning")
      }
    }
    case "learning":
      return {
        next: { ...state, tokens: state.tokens + options.tokens },
        endsAt: state.startedAt + Duration.toMillis(options.fallbackWindow) + grace,
        answer: answer(epoch, "learning")
      }
    case "learned": {
      const refill = state.window / state.limit
      const isOver = state.cooldownUntil <= now
      const tokens = (isOver ? 0 : state.tokens) + options.tokens
      const cooldownUntil = (isOver ? now : state.cooldownUntil) + refill * options.tokens
      const elapsed = tokens * refill - (cooldownUntil - now)
      const left = Math.floor((tokens - 1) / state.limit) * state.window - elapsed
      return {
        next: { ...state, tokens, cooldownUntil },
        endsAt: state.startedAt + state.window + grace,
        answer: answer(epoch, "learned", left)
      }
    }
  }
}

export const feedback = (
  state: State | undefined,
  now: number,
  options: RateLimiter.AdaptiveFeedbackOptions
): Step<void> => {
  const unchanged = { next: undefined, endsAt: 0, answer: undefined }
  if (options.status !== 429 || options.retryAfter === undefined || (state?.epoch ?? 0) !== options.epoch) {
    return unchanged
  }
  const wait = clamp(Duration.toMillis(options.retryAfter))
  const until = now + wait
  const cooling = (epoch: number, at: number) => ({ next: cooldown(epoch, at), endsAt: at + grace, answer: undefined })
  if (state === undefined) return cooling(0, until)
  if (state.phase === "cooldown") return cooling(state.epoch, Math.max(state.cooldownUntil, until))
  const accepted = state.tokens - options.tokens
  if (state.phase === "learned" || accepted <= 0) return cooling(state.epoch, until)
  const window = clamp(now - state.startedAt + wait)
  return {
    next: {
      phase: "learned",
      epoch: state.epoch + 1,
      cooldownUntil: state.startedAt + window,
      startedAt: state.startedAt,
      tokens: accepted,
      limit: accepted,
      window
    },
    endsAt: now + window + grace,
    answer: undefined
  }
}
