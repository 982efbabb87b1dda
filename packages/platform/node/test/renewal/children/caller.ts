// Asks for a token once, and says what came of it; on the way it may wait for others, or for its end.
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Fs from "node:fs"
import { mortal } from "../../children/mortal.ts"
import { accessToken, type Changes, noLock, program, type Setup } from "../program.ts"

/**
 * - `go`: a file to wait for, so that many start at once.
 * - `lock`: false takes the lock out.
 * - `stop`: where to say so and wait for the end: in the queue for the lock, in the lock, on the way to the IAM (there it
 *   goes on), or with its answer at hand.
 * - `die`: the call of the file system, counted from the answer on, before or in the middle of which it ends itself.
 */
interface Orders extends Setup {
  readonly go?: string
  readonly lock?: boolean
  readonly stop?: "queueing" | "waiting" | "sending" | "answered"
  readonly die?: number
}

const orders: Orders = JSON.parse(process.argv[2]!)
const { die, go, stop } = orders
const say = (text: string) => Effect.sync(() => Fs.writeSync(1, `${text}\n`))
const stay = (point: string) => Effect.andThen(say(point), Effect.never)

let isHome = false

const doomed = (point: number) =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.gen(function*() {
      const healthy = yield* FileSystem.FileSystem
      const dying = Context.get(yield* Layer.build(mortal(point)), FileSystem.FileSystem)
      return new Proxy(healthy, { get: (_, member) => Reflect.get(isHome ? dying : healthy, member) })
    })
  ).pipe(Layer.provide(NodeFileSystem.layer))

const changes: Changes = {
  ...(die === undefined ? {} : { files: doomed(die) }),
  ...(orders.lock === false
    ? { lock: noLock }
    : stop === "queueing"
    ? {
      lock: (lock) => ({
        withLock: (key, purpose) => (effect) => Effect.andThen(say(stop), lock.withLock(key, purpose)(effect))
      })
    }
    : stop === "waiting"
    ? { lock: (lock) => ({ withLock: (key, purpose) => () => lock.withLock(key, purpose)(stay(stop)) }) }
    : {}),
  iam: (iam) => ({
    renew: (session, target) =>
      (stop === "sending" ? Effect.andThen(say(stop), iam.renew(session, target)) : iam.renew(session, target)).pipe(
        Effect.tap(() => stop === "answered" ? stay(stop) : Effect.void),
        Effect.tap(() =>
          Effect.sync(() => {
            isHome = true
          })
        )
      )
  })
}

const started = go === undefined
  ? Effect.void
  : Effect.andThen(
    say("ready"),
    Effect.suspend(() => Fs.existsSync(go) ? Effect.void : Effect.sleep("5 millis")).pipe(
      Effect.repeat({ until: () => Fs.existsSync(go) })
    )
  )

await Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  yield* started
  const outcome = yield* Effect.match(auth.token, {
    // the token itself would be in the output of a program, where no secret may be
    onSuccess: (tokens) => ({ token: accessToken(tokens).slice(-8) }),
    onFailure: (error) => ({ error: error._tag, message: error.message })
  })
  yield* say(JSON.stringify(outcome))
}).pipe(
  Effect.provide(program(orders, changes)),
  Effect.provideService(References.LogToStderr, true),
  Effect.runPromise
)
