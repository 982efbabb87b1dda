/** @since 0.1.0 */
import type { ApiToken } from "@effect-authn/iam-datalayer/DatalayerApi"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Redacted from "effect/Redacted"
import type { Fault, Knobs, LedgerEntry } from "../../SimulatorApi.ts"
import * as Signing from "./signing.ts"

export interface Account {
  readonly number: number
  readonly handle: string
  readonly password: Redacted.Redacted
}

export interface Project {
  readonly id: number
  readonly slug: string
}

/** Whom an access token speaks for, and for which project, where its dialect has projects. */
export interface Holder {
  readonly account: Account
  readonly project: Project | undefined
}

interface Access extends Holder {
  readonly expiresAt: number
}

interface Refresh {
  readonly account: Account
  readonly family: number
  spent: boolean
}

/** A token that a user made for a program; it ends when it is deleted, or at its own date. */
export interface ApiTokenRecord {
  readonly account: Account
  readonly token: Redacted.Redacted
  readonly shown: ApiToken
}

export type MutableEntry = { -readonly [K in keyof LedgerEntry]: LedgerEntry[K] }

export interface State {
  readonly issuer: string
  /** The simulator's clock, with its skew, and what it says. */
  readonly clock: Clock.Clock
  readonly now: Effect.Effect<DateTime.Utc>
  readonly account: (name: string) => Account | undefined
  readonly issue: (
    holder: Holder,
    claims: Signing.Claims,
    lifetime?: Duration.Duration
  ) => Effect.Effect<Redacted.Redacted>
  /** The holder of a token that is good now; `known` also finds the holder of an expired one. */
  readonly holder: (token: Redacted.Redacted) => Effect.Effect<Holder | undefined>
  readonly known: (token: Redacted.Redacted) => Holder | undefined
  readonly kill: (token: Redacted.Redacted) => void
  readonly killAll: () => void
  readonly nextNumber: () => number
  readonly apiTokens: () => Map<string, ApiTokenRecord>
  readonly issueRefresh: (account: Account, family?: number) => Redacted.Redacted
  readonly refresh: (token: Redacted.Redacted) => Refresh | undefined
  readonly killFamily: (family: number) => void
  readonly knobs: () => Knobs
  readonly setKnobs: (changes: Partial<Knobs>) => void
  readonly takeFault: (route: LedgerEntry["route"]) => Fault["what"] | undefined
  readonly ledger: () => ReadonlyArray<LedgerEntry>
  readonly record: (request: HttpServerRequest, entry: MutableEntry) => void
  readonly annotate: (request: HttpServerRequest, notes: Pick<LedgerEntry, "subject" | "note">) => void
  readonly reset: () => void
}

/** What the simulator remembers, for its routes. */
export class SimulatorState
  extends Context.Service<SimulatorState, State>()("@effect-authn/testing/internal/simulator/state/SimulatorState")
{}

export const make = (options: {
  readonly issuer: string
  readonly clock: Clock.Clock
  readonly accounts: ReadonlyArray<Account>
  readonly knobs: Knobs
}): State => {
  let knobs = options.knobs
  let access = new Map<string, Access>()
  let refresh = new Map<string, Refresh>()
  let apiTokens = new Map<string, ApiTokenRecord>()
  let ledger: Array<MutableEntry> = []
  // A handler gets its own view of a request; what they share is the source.
  const entries = new WeakMap<object, MutableEntry>()
  // Numbers go on across `reset`, so that no token of before is ever issued again.
  let issued = 0

  const { clock } = options
  const skewed = () => Math.round(clock.currentTimeMillisUnsafe() + Duration.toMillis(knobs.clockSkew))
  const now = Effect.sync(() => DateTime.makeUnsafe(skewed()))

  return {
    issuer: options.issuer,
    clock: {
      currentTimeMillisUnsafe: skewed,
      currentTimeMillis: Effect.sync(skewed),
      currentTimeNanosUnsafe: () => BigInt(skewed()) * 1_000_000n,
      currentTimeNanos: Effect.sync(() => BigInt(skewed()) * 1_000_000n),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration) => clock.sleep(duration)
    },
    now,
    account: (name) => options.accounts.find(({ handle }) => handle === name || email(handle) === name),
    issue: (holder, claims, lifetime) =>
      Effect.gen(function*() {
        const at = DateTime.toEpochMillis(yield* now)
        const exp = Math.ceil((at + Duration.toMillis(lifetime ?? knobs.tokenLifetime)) / 1000)
        const jti = `${++issued}`
        const end = Number.isFinite(exp) ? { exp } : {}
        const token = yield* Signing.sign({ ...claims, iss: options.issuer, iat: Math.floor(at / 1000), jti, ...end })
        access.set(Redacted.value(token), { ...holder, expiresAt: exp * 1000 })
        return token
      }),
    holder: (token) =>
      Effect.map(now, (instant) => {
        const found = access.get(Redacted.value(token))
        return found !== undefined && DateTime.toEpochMillis(instant) < found.expiresAt ? found : undefined
      }),
    known: (token) => access.get(Redacted.value(token)),
    kill: (token) => access.delete(Redacted.value(token)),
    killAll: () => {
      access = new Map()
      refresh = new Map()
    },
    nextNumber: () => ++issued,
    apiTokens: () => apiTokens,
    issueRefresh: (account, family) => {
      const number = ++issued
      // It need not be unguessable here, only never the token of another simulator.
      const token = Base64Url.encode(`refresh token ${number} of ${options.issuer}`)
      refresh.set(token, { account, family: family ?? number, spent: false })
      return Redacted.make(token, { label: "refresh_token" })
    },
    refresh: (token) => refresh.get(Redacted.value(token)),
    killFamily: (family) => {
      refresh = new Map([...refresh].filter(([, one]) => one.family !== family))
    },
    knobs: () => knobs,
    setKnobs: (changes) => {
      knobs = { ...knobs, ...changes }
    },
    takeFault: (route) => {
      const next = knobs.fail.find((fault) => fault.route === route)
      if (next === undefined) return undefined
      const fail = knobs.fail.flatMap((fault) =>
        fault !== next ? [fault] : fault.count > 1 ? [{ ...fault, count: fault.count - 1 }] : []
      )
      knobs = { ...knobs, fail }
      return next.what
    },
    ledger: () => ledger.map((entry) => ({ ...entry })),
    record: (request, entry) => {
      ledger.push(entry)
      entries.set(request.source, entry)
    },
    annotate: (request, notes) => {
      const entry = entries.get(request.source)
      if (entry !== undefined) Object.assign(entry, notes)
    },
    reset: () => {
      knobs = options.knobs
      access = new Map()
      refresh = new Map()
      apiTokens = new Map()
      ledger = []
    }
  }
}

export const email = (handle: string): string => (handle.includes("@") ? handle : `${handle}@example.org`)
