import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import { StorageKeyUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as ChildProcess from "node:child_process"

/** One call of `AsyncEntry`, the binding's class. */
export interface Call {
  readonly method: "getPassword" | "setPassword" | "deletePassword"
  readonly service: string
  readonly account: string
  readonly secret?: string
}

// The helper is text, so that it also runs where the program is bundled into one file.
//
// Its main thread can block for ever in the constructor of an entry, which connects to D-Bus. So a thread of its own waits
// for standard input to end, which it does when the program ends, in whatever way, and takes the whole process along.
//
// On Linux the binding falls back to the kernel's keyring, which forgets with the machine, unless the store is named.
const program = `
import { Worker } from "node:worker_threads"
const binding = import(process.argv[1]).then(({ AsyncEntry }) => AsyncEntry, (error) => ({ error: String(error.message) }))
new Worker(
  'import { readSync } from "node:fs"; try { readSync(0, new Uint8Array(1)) } finally { process.kill(process.pid, "SIGKILL") }',
  { eval: true }
)
process.on("message", async ({ id, call }) => {
  try {
    const AsyncEntry = await binding
    if (AsyncEntry.error !== undefined) return process.send({ id, missing: AsyncEntry.error })
    if (call === undefined) return process.send({ id, value: null })
    const { method, service, account, secret } = call
    const entry = new AsyncEntry(service, account, { linux: { store: "secret-service" } })
    const value = await (secret === undefined ? entry[method]() : entry[method](secret))
    process.send({ id, value: value ?? null })
  } catch (error) {
    process.send({ id, error: String(error.message) })
  }
})
`

const Answer = Schema.Struct({
  id: Schema.Natural,
  value: Schema.optionalKey(Schema.NullOr(Schema.Union([Schema.String, Schema.Boolean]))),
  error: Schema.optionalKey(Schema.String),
  missing: Schema.optionalKey(Schema.String)
})
const decodeAnswer = Schema.decodeUnknownOption(Answer)

type Value = string | boolean | null

interface Helper {
  readonly child: ChildProcess.ChildProcess
  readonly waiting: Map<number, (outcome: Effect.Effect<Value, StorageKeyUnavailable>) => void>
  isUp: boolean
}

const locked = (detail: string) => Effect.fail(new StorageKeyUnavailable({ detail }))

const thereBut = (detail: string) => new StorageKeyUnavailable({ detail, isThere: true })

const outcomeOf = ({ error, missing, value }: typeof Answer.Type): Effect.Effect<Value, StorageKeyUnavailable> =>
  missing !== undefined
    ? locked(`the native part of @napi-rs/keyring is not there for this machine (${short(missing)})`)
    : error !== undefined
    ? nobodyThere.test(error)
      ? locked(
        `no keychain is running in this session (${short(error)}); sign in to a desktop, or choose another place`
      )
      : Effect.fail(thereBut(`the keychain answered: ${short(error)}`))
    : Effect.succeed(value ?? null)

// In the words of D-Bus: no bus, no socket, nobody on the bus who has the name of the Secret Service.
const nobodyThere = /autolaunch|No such file|Connection refused|ServiceUnknown|was not provided/i

const short = (text: string): string => text.replace(/\s+/g, " ").slice(0, 200)

/**
 * Calls the binding in a process that can be killed: the only limit that holds, since a call that hangs there outlives its
 * thread, its promise and `process.exit`. The process is started at the first call, serves those that follow, is killed
 * when a call takes too long, and ends with the program. It keeps the program alive only while a call is waited for. The
 * limit is for a call. The start of the process has a limit of its own, since that says nothing of the keychain: what is
 * absent is told at once, and what is slow is a busy machine.
 */
export const make = Effect.fnUntraced(function*(limit: Duration.Duration) {
  let running: Helper | undefined
  let questions = 0

  const start = Effect.map(locate, (binding): Helper => {
    const child = ChildProcess.spawn(process.execPath, ["--input-type=module", "--eval", program, binding], {
      stdio: ["pipe", "ignore", "ignore", "ipc"],
      windowsHide: true
    })
    const helper: Helper = { child, waiting: new Map(), isUp: false }
    const gone = (detail: string) => {
      if (running === helper) running = undefined
      for (const resume of helper.waiting.values()) resume(locked(detail))
      helper.waiting.clear()
    }
    child.on("message", (message) => {
      const answer = decodeAnswer(message)
      if (Option.isSome(answer)) helper.waiting.get(answer.value.id)?.(outcomeOf(answer.value))
    })
    child.on("error", (error) => gone(`the keychain's helper process failed (${short(error.message)})`))
    child.on("exit", () => gone("the keychain's helper process ended without an answer"))
    // it says so by its exit
    child.stdin?.on("error", () => {})
    return running = helper
  })

  const kill = (helper: Helper) =>
    Effect.sync(() => {
      if (running === helper) running = undefined
      helper.child.kill("SIGKILL")
    })

  const ask = (
    helper: Helper,
    call: Call | undefined,
    duration: Duration.Duration,
    otherwise: StorageKeyUnavailable,
    message: string
  ) =>
    Effect.suspend(() => {
      const id = questions++
      return Effect.callback<Value, StorageKeyUnavailable>((resume) => {
        helper.waiting.set(id, resume)
        hold(helper)
        helper.child.send({ id, call }, (error) => {
          if (error !== null) resume(locked(`the keychain's helper process failed (${short(error.message)})`))
        })
      }).pipe(
        saying(message),
        Effect.timeoutOrElse({ duration, orElse: () => Effect.andThen(kill(helper), Effect.fail(otherwise)) }),
        Effect.ensuring(Effect.sync(() => {
          helper.waiting.delete(id)
          hold(helper)
        }))
      )
    })

  yield* Effect.addFinalizer(() => Effect.suspend(() => running === undefined ? Effect.void : kill(running)))

  return Effect.fnUntraced(function*(call: Call) {
    const helper = running ?? (yield* start)
    if (!helper.isUp) {
      yield* ask(helper, undefined, patience, slow, words.start)
      helper.isUp = true
    }
    return yield* ask(helper, call, limit, late(limit), words.call)
  })
})

/** Says who is waited for, after a second. */
const saying = (message: string) => <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const onWait = yield* EncryptionKeys.OnWait
    const telling = yield* Effect.forkChild(Effect.delay(onWait({ message }), silence))
    return yield* Effect.ensuring(effect, Fiber.interrupt(telling))
  })

const locate = Effect.try({
  try: () => import.meta.resolve("@napi-rs/keyring"),
  catch: () => new StorageKeyUnavailable({ detail: "@napi-rs/keyring is not installed" })
})

/** How long the process may take until it answers for the first time: about 60 ms where nothing else runs. */
const patience = Duration.seconds(30)

const slow = thereBut(`the keychain's helper process did not start within ${Duration.format(patience)}`)

const late = (limit: Duration.Duration): StorageKeyUnavailable =>
  thereBut(
    `the keychain did not answer within ${Duration.format(limit)}; unlock it, or see whether it asks for a password`
  )

/** What is said of a call that takes long, and of the start of the process. */
const words = {
  call: "waiting for the keychain: it may be asking for a password, or be busy",
  start: "waiting for the keychain's helper process to start: this machine may be busy"
}

const silence = Duration.seconds(1)

const hold = ({ child, waiting }: Helper): void => {
  // Bun's channel is held and let go with its process.
  const channel: Partial<Pick<ChildProcess.Control, "ref" | "unref">> | null | undefined = child.channel
  if (waiting.size > 0) {
    child.ref()
    channel?.ref?.()
  } else {
    child.unref()
    channel?.unref?.()
  }
}
