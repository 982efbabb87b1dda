// Has a session open and does what it is told, one order a line; says what came of each, as soon as that is known.
import type { AuthError } from "@effect-authn/core/AuthError"
import * as AuthManager from "@effect-authn/core/AuthManager"
import type * as TokenSet from "@effect-authn/core/session/TokenSet"
import type * as TokenStorageError from "@effect-authn/core/storage/TokenStorageError"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Diagnostics from "node:diagnostics_channel"
import * as Fs from "node:fs"
import * as Readline from "node:readline"
import { accessToken, as, type Changes, program, type Setup } from "../program.ts"

/**
 * - `holds`: says "held" with the first answer of this member of its IamClient at hand, and goes on when it is told to
 *   `release` it.
 * - `freezes`: says "frozen" and stops itself as a closed lid would, once: when the connection for a renewal was begun, or
 *   when its request was sent.
 */
interface Orders extends Setup {
  readonly holds?: "renew" | "whoami"
  readonly freezes?: "connecting" | "sent"
}

const orders: Orders = JSON.parse(process.argv[2]!)
const say = (text: string) => Effect.sync(() => Fs.writeSync(1, `${text}\n`))

let isRenewing = false
let hasFrozen = false
const channels = { connecting: "undici:client:beforeConnect", sent: "undici:request:bodySent" }
if (orders.freezes !== undefined) {
  Diagnostics.subscribe(channels[orders.freezes], () => {
    if (!isRenewing || hasFrozen) return
    hasFrozen = true
    process.nextTick(() => {
      Fs.writeSync(1, "frozen\n")
      process.kill(process.pid, "SIGSTOP")
    })
  })
}

const released = Latch.makeUnsafe()
let hasHeld = false
const held = <A, E>(answer: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.tap(answer, () => {
    if (hasHeld) return Effect.void
    hasHeld = true
    return Effect.andThen(say("held"), released.await)
  })

const changes: Changes = {
  iam: ({ renew, whoami }) => ({
    renew: (session, selection) => {
      isRenewing = true
      return orders.holds === "renew" ? held(renew(session, selection)) : renew(session, selection)
    },
    whoami: (session) => orders.holds === "whoami" ? held(whoami(session)) : whoami(session)
  })
}

/** Whose token it is, and which one: nothing of it is a secret. */
const told = (tokens: TokenSet.TokenSet) => {
  const token = accessToken(tokens)
  const { sub }: { readonly sub: string } = JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString())
  return { sub, token: token.slice(-8) }
}

await Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const selection = { organization: "acme" }
  const token = Effect.map(auth.token, told)
  const abilities: Readonly<Record<string, Effect.Effect<unknown, AuthError | TokenStorageError.TokenStorageError>>> = {
    token,
    refresh: Effect.andThen(auth.refresh(), token),
    rejected: auth.bearerToken.pipe(
      Effect.flatMap((bearer) => auth.rejected(bearer)),
      Effect.map(({ tokens }) => told(tokens))
    ),
    whoami: Effect.map(auth.refreshUser, ({ id }) => ({ id })),
    "login bob": Effect.andThen(auth.login(as("bob"), { selection }), token),
    "login bob in memory": Effect.andThen(auth.login(as("bob"), { selection, store: false }), token),
    logout: Effect.map(auth.logout, ({ _tag }) => ({ revocation: _tag })),
    unsaved: auth.changes.pipe(
      Stream.filter((state) => state._tag === "SignedIn" && state.unsaved !== undefined),
      Stream.runHead,
      Effect.as({})
    ),
    user: Effect.map(auth.session, (session) => ({
      id: Option.getOrUndefined(Option.flatMap(session, ({ user }) => user))?.id
    }))
  }
  const orders = Stream.fromAsyncIterable(Readline.createInterface(process.stdin), (cause) => cause)
  yield* Stream.runForEach(orders, (order) =>
    order === "release"
      ? Effect.asVoid(released.open)
      : Effect.asVoid(Effect.forkChild(
        Effect.match(abilities[order]!, {
          onSuccess: (answer) => ({ order, answer }),
          onFailure: (error) => ({ order, error: error._tag, message: error.message })
        }).pipe(Effect.flatMap((outcome) => say(JSON.stringify(outcome))))
      )))
}).pipe(
  Effect.provide(program(orders, changes)),
  Effect.provideService(References.LogToStderr, true),
  Effect.runPromise
)
