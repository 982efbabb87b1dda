// What must hold of every history, judged from the IAM's ledger, from what was written and from the order of begin and end.
import { type AuthError, Session } from "@effect-authn/core"
import type { ScriptedIam } from "@effect-authn/testing"
import { Duration, Option } from "effect"
import type { History, Move, Who } from "./moves.ts"
import * as World from "./world.ts"

/** A token that a caller got; `of` is the login of the token that it reported as refused. */
export interface Handed {
  readonly who: Who
  readonly began: number
  readonly access: number
  readonly login: number
  readonly isValid: boolean
  readonly of: number | undefined
}

/** A login, a logout or an import, as it began and ended. */
export interface Change {
  readonly kind: "login" | "logout" | "import"
  readonly who: Who
  readonly isDurable: boolean
  /** Whether the session that stood before is to end at the IAM. */
  readonly revokesPrevious: boolean
  readonly began: number
  ended: number
  ok: boolean
  /** Of one that failed, and was not interrupted, the tag of its failure. */
  failure: AuthError.AuthError["_tag"] | undefined
  login: number | undefined
}

export const makeLog = () => ({
  handed: new Array<Handed>(),
  changes: new Array<Change>(),
  /** The ends of programs, and the newest token that the IAM had issued by then. */
  crashes: new Array<{ readonly seq: number; readonly issued: number }>(),
  startedAt: new Map<Who, number>(),
  inMemory: new Set<Who>()
})
export type Log = ReturnType<typeof makeLog>

/** What a program says when everything works again. */
export interface AtRest {
  readonly who: Who
  readonly session: Session.Session | undefined
  readonly isServed: boolean
}

export const newestIssued = (calls: ReadonlyArray<ScriptedIam.Call>): number =>
  calls.reduce((newest, { issued }) => Math.max(newest, issued?.accessToken ?? 0, issued?.refreshToken ?? 0), 0)

/** Which promises were broken. */
export const judge = (played: {
  readonly history: History
  readonly world: World.World
  readonly log: Log
  readonly calls: ReadonlyArray<ScriptedIam.Call>
  readonly atRest: ReadonlyArray<AtRest>
  /** What the IAM had issued when everything worked again, and what was stored seconds later. */
  readonly soon: { readonly issued: ReadonlyArray<ScriptedIam.Call>; readonly stored: Session.Session | undefined }
  readonly stored: Session.Session | undefined
}): ReadonlyArray<string> => {
  const { atRest, calls, history, log, soon, stored, world } = played
  const { presentations, revoked, unknown, writes } = world
  const broken = new Set<string>()
  const has = (...names: ReadonlyArray<Move["_tag"]>) => history.moves.some(({ _tag }) => names.includes(_tag))

  // the ledger: which login a token is of
  const familyOfRefresh = new Map<number, number>()
  const familyOfAccess = new Map<number, number>()
  const subjectOf = new Map<number, string>()
  const newestOf = new Map<number, number>()
  for (const { issued, login, subject } of calls) {
    if (issued === undefined || login === undefined || subject === undefined) continue
    familyOfAccess.set(issued.accessToken, login)
    if (issued.refreshToken !== undefined) familyOfRefresh.set(issued.refreshToken, login)
    newestOf.set(login, Math.max(newestOf.get(login) ?? 0, issued.refreshToken ?? 0))
    subjectOf.set(login, subject)
  }

  // logins as the keeper numbers them, and the IAM's
  const familyOf = new Map<number, number>()
  const imports = new Set<number>()
  for (const { kind, login } of log.changes) if (kind === "import" && login !== undefined) imports.add(login)
  const isOf = (login: number, family: number | undefined) => {
    if (family === undefined) return
    const known = familyOf.get(login)
    if (known === undefined) familyOf.set(login, family)
    else if (known !== family) broken.add("tokens of two logins stand under one number")
  }
  for (const { login, refresh } of writes) {
    if (login !== undefined && refresh !== undefined) isOf(login, familyOfRefresh.get(refresh))
  }
  for (const { access, login } of log.handed) isOf(login, familyOfAccess.get(access))

  // a refresh token is presented again only where nothing is left to lose, or within the grace
  const unclean = new Set<number>()
  const presentedBefore = new Map<number, World.Presentation>()
  const spare = has("Clock") || history.setting.lock === "kernel" ? 0 : Duration.toMillis(World.lease) - 15_000
  for (const presentation of presentations) {
    const family = familyOfRefresh.get(presentation.refresh)
    if (family !== undefined && presentation.mayHaveActed && presentation.isLost) unclean.add(family)
    const first = presentedBefore.get(presentation.refresh)
    if (first !== undefined) {
      if (family !== undefined) unclean.add(family)
      const isInGrace = presentation.at - first.at < history.setting.grace - 2_000
      if (!presentation.isNothingLeft && !isInGrace && !has("Import", "Clock")) {
        broken.add("a refresh token was presented again although something was left to lose")
      }
      if (presentation.at - first.at < spare && !has("Import")) {
        broken.add("a refresh token was presented again before a lease had passed")
      }
    }
    if (history.setting.rotates !== false && presentation.mayHaveActed && first === undefined) {
      presentedBefore.set(presentation.refresh, presentation)
    }
  }

  // what a program was answered with it never buys again, and writes as soon as it can
  const isSlow = has("Clock", "HoldLock", "Freeze", "Put", "Reads") ||
    history.moves.some((move) => move._tag === "Latency" && move.time > 1_000)
  for (const { answer, program, refresh, seq, who } of presentations) {
    if (answer === undefined || answer.refresh === refresh || has("Import")) continue
    if (presentations.some((one) => one.program === program && one.refresh === refresh && one.seq > answer.seq)) {
      broken.add("a program presented a refresh token again that it had an answer to")
    }
    const family = familyOfRefresh.get(refresh)
    const isOver = isSlow || log.inMemory.has(who) || presentations.some((one) => one.refresh === answer.refresh) ||
      log.changes.some((change) => change.who === who && change.ended > answer.seq) ||
      writes.some((write) =>
        write.refresh === undefined || familyOfRefresh.get(write.refresh) !== family
          ? write.seq > seq
          : write.seq > answer.seq && write.refresh >= answer.refresh
      )
    if (isOver) continue
    const isFineAt = (at: number) => world.disks.findLast((disk) => disk.at <= at)?.isFine ?? true
    const couldBeWritten = [answer.at, ...world.disks.map(({ at }) => at)].some((from) =>
      from >= answer.at && isFineAt(from) && program.endedAt > from + World.soon &&
      world.now() > from + World.soon &&
      !world.disks.some(({ at, isFine }) => !isFine && at >= from && at <= from + World.soon)
    )
    if (couldBeWritten) broken.add("an answer that could be stored was not")
  }

  // renewals are bounded: what is due, a few attempts for each move, and pauses that grow up to a minute
  const atMost = 16 + 4 * history.moves.length
  const isTooOften = presentations.some(({ at }, index) =>
    (presentations[index + atMost]?.at ?? Infinity) - at < 60_000
  )
  if (isTooOften) broken.add("the IAM was asked again and again")

  // what callers got
  for (const one of log.handed) {
    if (!one.isValid) broken.add("a token that has expired was handed out")
    if (one.of !== undefined && one.of !== one.login) broken.add("a refused token was answered with another login's")
    const family = familyOfAccess.get(one.access)
    const begins = log.changes.filter((change) => change.login === one.login && change.kind !== "logout")
    const ended = log.changes.some((change) => {
      if (
        change.who !== one.who || change.began < (log.startedAt.get(one.who) ?? 0) || change.ended > one.began ||
        change.kind === "import" || begins.length === 0 || begins.some((begin) => begin.ended > change.began)
      ) return false
      // Who signs out is signed out here whatever becomes of the document, and a login that could not be stored stands.
      if (change.failure === "TokenStorageError") return !has("Import")
      if (change.failure === "SessionLockError") return change.kind === "logout" && !has("Import")
      return change.ok && (change.kind === "logout" || (change.login !== undefined && change.login !== one.login)) &&
        !writes.some(({ login, seq }) => login === one.login && seq > change.began)
    })
    if (ended && family !== undefined) broken.add("a token of a login that had ended was handed out")
  }

  // what was written: nothing of a login that was replaced or signed out
  const over = new Set<number>()
  let last: number | undefined
  for (const { login, seq } of writes) {
    if (login !== undefined && over.has(login) && !unknown.has(login) && !imports.has(login)) {
      const isBegun = log.changes.some((change) => change.login === login && change.ended > seq)
      if (!isBegun) broken.add("a login that had ended was written again")
    }
    if (last !== undefined && last !== login) over.add(last)
    last = login
  }

  // nothing newer gives way to what was spent on it
  for (const [index, { login, refresh, seq }] of writes.entries()) {
    const before = writes[index - 1]
    // whoever brings an old copy after a logout that could not be written has what the copy holds
    const isBrought = login !== undefined && imports.has(login) &&
      log.changes.some((change) => change.kind === "logout" && !change.ok && change.began < seq)
    if (
      !isBrought &&
      login !== undefined && login === before?.login && refresh !== undefined && before.refresh !== undefined &&
      refresh < before.refresh
    ) broken.add("an older refresh token was written over a newer one of its login")
  }

  // nobody's session says that it is another's
  for (const session of [stored, ...atRest.map(({ session }) => session)]) {
    if (session === undefined) continue
    const families = new Set(
      [
        World.refreshOf(session) === undefined ? undefined : familyOfRefresh.get(World.refreshOf(session) ?? 0),
        ...Object.values(session.tokens).map(({ accessToken }) => familyOfAccess.get(World.tokenNumber(accessToken)))
      ].filter((family) => family !== undefined)
    )
    if (families.size > 1) broken.add("a session holds tokens of two logins")
    const user = Option.getOrUndefined(session.user)
    for (const family of families) {
      if (user !== undefined && subjectOf.get(family) !== user.id) broken.add("an identity stands in another's session")
    }
  }

  // nobody is signed out at the IAM who did not sign out, and who did is signed out with the newest token
  for (const { refresh, seq } of revoked) {
    const family = familyOfRefresh.get(refresh)
    const isWanted = log.changes.slice(1).some((change) =>
      change.began < seq && (change.kind === "logout" || change.isDurable || has("Disk", "Put")) &&
      (change.login === undefined || familyOf.get(change.login) !== family)
    )
    if (!isWanted && !has("Import")) broken.add("the IAM was told to revoke though nobody signed out")
  }
  const isTold = (family: number | undefined, until: number) =>
    revoked.some(({ refresh, seq }) => seq < until && familyOfRefresh.get(refresh) === family)
  /** Of a grant that the IAM has called dead there is nothing to tell. */
  const isDead = (refresh: number) => presentations.some((one) => one.refresh === refresh && one.isDead)
  /** An IAM that answers later than anybody waits is told when the logout has ended. */
  const isLate = history.moves.some((move) => move._tag === "Latency" && move.time >= 60_000)
  for (const change of log.changes) {
    if (change.ended === Number.POSITIVE_INFINITY || log.inMemory.has(change.who)) continue
    if (!change.ok && change.failure === undefined && !has("Restart")) broken.add("a change ended without a word")
    if (change.kind === "logout" && (change.ok || change.failure !== undefined)) {
      const before = writes.findLast(({ seq }) => seq < change.began)
      const isOthers = writes.some(({ login, seq }) =>
        seq > change.began && seq < change.ended && login !== undefined && login !== before?.login
      )
      if (
        before?.refresh !== undefined && !isOthers && !isDead(before.refresh) && !isLate &&
        !isTold(familyOfRefresh.get(before.refresh), change.ended)
      ) broken.add("somebody signed out and the IAM was not told")
    }
    if (change.kind === "login" && change.revokesPrevious && change.ok) {
      const written = writes.findIndex(({ login }) => login === change.login)
      const before = writes[written - 1]
      if (
        before?.refresh !== undefined && !isDead(before.refresh) &&
        !isTold(familyOfRefresh.get(before.refresh), change.ended)
      ) {
        broken.add("somebody signed in over a session that was to end, and the IAM was not told")
      }
    }
  }
  const storedRefresh = (seq: number) =>
    writes.reduce<number | undefined>((found, write) => write.seq < seq ? write.refresh : found, undefined)
  for (const { issued, seq } of log.crashes) {
    for (const [family] of newestOf) {
      const newest = [...familyOfRefresh].reduce(
        (most, [refresh, of]) => of === family && refresh <= issued ? Math.max(most, refresh) : most,
        0
      )
      if (newest !== 0 && storedRefresh(seq) !== newest) unclean.add(family)
    }
  }
  // who signs in over an answer that could not be stored tells the IAM of that, and not of what it was bought with
  for (const change of log.changes) {
    const { began, ended, revokesPrevious, who } = change
    const isAlone = !log.changes.some((one) =>
      one !== change && one.who === who && one.began < ended && one.ended > began
    )
    if (!revokesPrevious || !isAlone || has("Import") || log.inMemory.has(who)) continue
    const told = revoked.filter((one) => one.who === who && one.seq > began && one.seq < ended)
    const isOlder = told.some(({ refresh, seq }) =>
      told.some((one) =>
        one.seq < seq && one.refresh > refresh && familyOfRefresh.get(one.refresh) === familyOfRefresh.get(refresh)
      )
    )
    if (isOlder) broken.add("the IAM was told to revoke an older token of a login after a newer one")
  }
  /** Of each family the newest token that the IAM was told of. */
  const newestRevoked = new Map<number, (typeof revoked)[number]>()
  for (const revocation of revoked) {
    const family = familyOfRefresh.get(revocation.refresh)
    if (family !== undefined && revocation.refresh >= (newestRevoked.get(family)?.refresh ?? 0)) {
      newestRevoked.set(family, revocation)
    }
  }
  /**
   * Without a lock nobody can read what a sibling bought and then replaced by a login of its own, also by one that it could
   * not store at once.
   */
  const isOutOfReach = (newest: number | undefined, { seq, who }: (typeof revoked)[number]) => {
    if (history.setting.lock === "kernel") return false
    const until = log.changes.find((change) => change.who === who && change.began < seq && change.ended > seq)?.ended
    const bought = writes.findLast((write) => write.refresh === newest)
    const next = bought && writes.find((write) => write.seq > bought.seq && write.login !== bought.login)
    const maker = world.madeBy.get(familyOf.get(next?.login ?? 0) ?? 0)
    return next !== undefined && next.seq < (until ?? seq) && maker !== undefined && maker !== who
  }
  /** Who cannot have the lock, or the disk, tells the IAM of what can be read, and the error says what is left. */
  const isOfFailedLogout = ({ seq, who }: (typeof revoked)[number]) =>
    log.changes.some((change) =>
      change.kind === "logout" && change.who === who && !change.ok && change.began < seq && change.ended > seq
    )
  for (const [family, revocation] of newestRevoked) {
    const newest = newestOf.get(family)
    if (
      !unclean.has(family) && !has("Import") && revocation.refresh !== newest &&
      !(newest !== undefined && isDead(newest)) &&
      !isOutOfReach(newest, revocation) && !isOfFailedLogout(revocation)
    ) {
      broken.add("the IAM was told to revoke a token, and not the newest of its login")
    }
  }

  // nothing is lost
  const storedFamily = stored === undefined || Session.isSignedOut(stored)
    ? undefined
    : familyOf.get(Session.login(stored))
  const isUnharmed = storedFamily !== undefined && !unclean.has(storedFamily) && !newestRevoked.has(storedFamily) &&
    !has("Import")
  if (isUnharmed && stored !== undefined) {
    if (Option.isSome(stored.dead)) broken.add("a session was lost")
    else if (World.refreshOf(stored) !== newestOf.get(storedFamily)) broken.add("the newest refresh token was lost")
  }
  // the background notices within a minute that its clock was set
  if (isUnharmed && !has("Clock")) {
    const issued = soon.issued.reduce(
      (most, { issued }) =>
        familyOfRefresh.get(issued?.refreshToken ?? 0) === storedFamily
          ? Math.max(most, issued?.refreshToken ?? 0)
          : most,
      0
    )
    const written = soon.stored === undefined || Session.isSignedOut(soon.stored)
      ? 0
      : World.refreshOf(soon.stored) ?? 0
    if (written < issued) broken.add("what memory had was not stored within seconds")
  }
  // an intent is of a presentation whose outcome nobody knows
  if (
    isUnharmed && stored !== undefined && Option.isSome(stored.intent) && !has("Disk", "Put", "Restart", "Freeze") &&
    !presentations.some((one) => one.refresh === World.refreshOf(stored) && one.mayHaveActed && one.isLost)
  ) broken.add("an intent stands though nothing was spent")
  const lastWrittenAt = writes.at(-1)?.at ?? 0
  /** A hint that comes in the millisecond in which its hearer turns deaf, or hears again, may be lost. */
  const hasHeardOfAll = (who: Who) => {
    const ears = world.ears.filter((one) => one.who === who && one.at <= lastWrittenAt)
    return ears.findLast(({ at }) => at < lastWrittenAt)?.isDeaf !== true &&
      !ears.some(({ at, isDeaf }) => isDeaf && at === lastWrittenAt)
  }
  for (const { isServed, session, who } of atRest) {
    const isOfStored = session !== undefined && stored !== undefined && Session.login(session) === Session.login(stored)
    if (isUnharmed && isOfStored && !isServed) broken.add("at rest, a session that was not lost gives no token")
    const isApart = !hasHeardOfAll(who) || has("HoldLock", "Freeze", "Disk", "Put") || log.inMemory.has(who) ||
      log.changes.some(({ kind, ok }) => kind === "logout" && !ok)
    const signedOut = stored === undefined || Session.isSignedOut(stored)
    if (!isApart && (signedOut ? session !== undefined : session?.generation !== stored?.generation)) {
      broken.add("memory and storage do not agree at rest")
    }
  }
  if (
    log.changes.every(({ kind }) => kind === "login") && log.changes.some(({ isDurable, ok }) => isDurable && ok) &&
    stored === undefined
  ) broken.add("a stored session vanished though nobody signed out")
  return [...broken]
}
