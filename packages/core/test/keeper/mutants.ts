/**
 * The faults by which sessions were once lost or mixed up, each as one change of the keeper that puts it back.
 * `EFFECT_AUTHN_MUTANT` names the one that Vitest applies while it loads the file; `npm run soak` plays them all.
 */

/**
 * `text` occurs exactly once in `file`, which is below core's `src`; `falls` begins the name of a test that must fail. The
 * random model must see the fault too, within 2,000 histories, unless `unseen` says why it cannot.
 */
export interface Mutant {
  readonly name: string
  readonly rule: number
  readonly file: string
  readonly text: string
  readonly replacement: string
  readonly falls: string
  readonly unseen?: string
}

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "the newer generation stands over an unsaved answer",
    rule: 17,
    file: "keeper/internal/decision.ts",
    text: "if (stored.buriesBought || isBoughtWith(unsaved.bought, found)) return memory",
    replacement: "if (found.generation <= held.generation) return memory",
    falls: "a sibling notes who is signed in"
  },
  {
    name: "a user is noted whoever is signed in",
    rule: 15,
    file: "keeper/internal/persistence.ts",
    text: "if (session === undefined || Session.login(session) !== login) return",
    replacement: "if (session === undefined) return",
    falls: "somebody signs in while the IAM says"
  },
  {
    name: "what is memory-only excludes nobody",
    rule: 16,
    file: "keeper/internal/singleFlight.ts",
    text: "    entries.exclusively(entry)(\n      isDurable",
    replacement: "    (isDurable ? entries.exclusively(entry) : (effect) => effect)(\n      isDurable",
    falls: "somebody signs in, for this program only"
  },
  {
    name: "no check at the door",
    rule: 18,
    file: "keeper/internal/caller.ts",
    text: "const isValid = (tokens: TokenSet.TokenSet): boolean => TokenSet.isValid(tokens, entries.now())",
    replacement: "const isValid = (_: TokenSet.TokenSet): boolean => true",
    falls: "four programs renew an expired session"
  },
  {
    name: "a late time limit fails at once",
    rule: 20,
    file: "internal/inTime.ts",
    text: "isFrozen() ? Effect.sleep(Duration.millis(readingMillis)) : Effect.void",
    replacement: "Effect.void",
    falls: "a program that was stopped",
    unseen:
      "a program of the model is frozen between two steps of its own, and has no event loop whose timers come first"
  },
  {
    name: "sent without an intent",
    rule: 19,
    file: "keeper/internal/renewal.ts",
    text: "if (!persistence.isConflict(asked.failure)) return yield* asked.failure",
    replacement:
      "if (!persistence.isConflict(asked.failure)) return yield* present(entry, target, session, session, verdict.licence)",
    falls: "an API refuses a token and the disk is full"
  },
  {
    name: "no pause after a token that is due",
    rule: 20,
    file: "keeper/internal/entry.ts",
    text: "const hasty = isDue(entry.session) ? (entry.trouble?.hasty ?? 0) + 1 : 0",
    replacement: "const hasty = 0",
    falls: "the IAM renews with tokens that are due"
  },
  {
    name: "the echo of a renewal ends the pause",
    rule: 20,
    file: "keeper/internal/entry.ts",
    text: "if (!isHasty && !Decision.isSameState(session, had)) clearFailure(entry)",
    replacement: "if (!Decision.isSameState(session, had)) clearFailure(entry)",
    falls: "the IAM renews with tokens that are due"
  },
  {
    name: "Retry-After without a cap",
    rule: 20,
    file: "keeper/internal/entry.ts",
    text: "Duration.toMillis(Duration.min(wish, RefreshPolicy.longestRetryAfter))",
    replacement: "Duration.toMillis(wish)",
    falls: "an IAM that wishes to be left alone"
  },
  {
    name: "any selection's token is something to lose",
    rule: 19,
    file: "keeper/internal/decision.ts",
    text: "[Session.tokenFor(session, target.selection), Session.currentToken(session)]",
    replacement: "Object.values(session.tokens).map((tokens) => Option.some(tokens))",
    falls: "the answer for one selection was lost"
  },
  {
    name: "the higher generation stands, whatever is stored",
    rule: 15,
    file: "keeper/internal/decision.ts",
    text: "  if (unsaved === undefined) return { _tag: \"Stored\", revoke: false }",
    replacement:
      "  if (unsaved === undefined && stored.session !== undefined && stored.generation < held.generation) return memory\n" +
      "  if (unsaved === undefined) return { _tag: \"Stored\", revoke: false }",
    falls: "the clock is set back"
  },
  {
    name: "who cannot have the lock tells nobody",
    rule: 20,
    file: "keeper/internal/change.ts",
    text: "(error) => removeWithout(entry, options.revoke, error)",
    replacement: "(error) => Effect.fail(error)",
    falls: "somebody signs out where the storage cannot be changed"
  },
  {
    name: "who waits for a held lock is interrupted",
    rule: 20,
    file: "keeper/internal/singleFlight.ts",
    text: "Effect.fail(new SessionLockError({ key: entry.key, purpose: \"renew\", detail }))",
    replacement: "Effect.interrupt",
    falls: "somebody signs out where the storage cannot be changed"
  },
  {
    name: "who cannot have the lock ends who came later",
    rule: 20,
    file: "keeper/internal/change.ts",
    text: "    entries.leftBehind(entry, found?.session)\n    const revocation = yield* revokeAll(sessions, isAsked)",
    replacement:
      "    const revocation = yield* revokeAll(sessions, isAsked)\n    entries.leftBehind(entry, found?.session)",
    falls: "somebody signs in while a logout that had no lock",
    unseen: "the model has met it once, in history 8,413 of seed 7"
  },
  {
    name: "unsaved answers wait a minute",
    rule: 17,
    file: "session/RefreshPolicy.ts",
    text: "{ first: Duration.millis(200), longest: Duration.seconds(5) }",
    replacement: "{ first: Duration.minutes(1), longest: Duration.minutes(1) }",
    falls: "a storage that was away for a moment"
  },
  {
    name: "what cannot be read is not written again",
    rule: 17,
    file: "keeper/internal/caller.ts",
    text: "entries.notWritten(entry, error.message)",
    replacement: "error.message",
    falls: "a storage that was away for a moment",
    unseen: "the disks of the model can always be read"
  },
  {
    name: "all that is due is renewed at once",
    rule: 21,
    file: "session/RefreshPolicy.ts",
    text: "export const mostInBackground = 64",
    replacement: "export const mostInBackground = 1e9",
    falls: "many sessions",
    unseen: "each program of the model keeps one session"
  },
  {
    name: "what is forgotten stays in the map",
    rule: 21,
    file: "keeper/internal/entry.ts",
    text: "    entries.delete(entry.key.id)\n",
    replacement: "",
    falls: "many sessions",
    unseen: "memory is not among what the model sees"
  },
  {
    name: "what is forgotten stays in the schedule",
    rule: 21,
    file: "keeper/internal/entry.ts",
    text: "    options.forgot(entry)\n",
    replacement: "",
    falls: "many sessions",
    unseen: "memory is not among what the model sees"
  },
  {
    name: "an empty entry stays",
    rule: 21,
    file: "keeper/internal/entry.ts",
    text: "    if (entry.session === undefined) forget(entry)\n",
    replacement: "",
    falls: "many sessions",
    unseen: "memory is not among what the model sees"
  },
  {
    name: "a refusal spends nothing",
    rule: 19,
    file: "keeper/internal/decision.ts",
    text: "(reason._tag === \"SelectionRefused\" && reason.spent === \"maybe\")",
    replacement: "false",
    falls: "the IAM spends the refresh token"
  },
  {
    name: "every refusal spends",
    rule: 19,
    file: "keeper/internal/decision.ts",
    text: "reason._tag === \"SelectionRefused\" && reason.spent === \"maybe\"",
    replacement: "reason._tag === \"SelectionRefused\"",
    falls: "the IAM spends the refresh token"
  },
  {
    name: "a read is taken up whenever it ends",
    rule: 16,
    file: "keeper/internal/persistence.ts",
    text: "if (entry.writes === writes || looks === mostConflicts) return found",
    replacement: "return found",
    falls: "a read of the storage that began before a logout"
  },
  {
    name: "a read that was overtaken is given up",
    rule: 16,
    file: "keeper/internal/singleFlight.ts",
    text: "      const found = yield* persistence.look(entry)\n      if (entry.removals === 0",
    replacement:
      "      const { writes } = entry\n      const found = yield* persistence.look(entry)\n      if (entry.writes === writes && entry.removals === 0",
    falls: "a slow read that ends after an older one"
  },
  {
    name: "a refused token of any login",
    rule: 12,
    file: "keeper/internal/caller.ts",
    text: "if (login !== bearer.login) {",
    replacement: "if (login === 0) {",
    falls: "an API refuses the token of somebody who"
  },
  {
    name: "the stored login stands over an unsaved one",
    rule: 15,
    file: "keeper/internal/decision.ts",
    text: "return unsaved.kind === \"login\" && unsaved.replaced.includes(Session.login(found))",
    replacement: "return held === undefined",
    falls: "a login that could not be stored"
  },
  {
    name: "each import is a login",
    rule: 15,
    file: "keeper/internal/change.ts",
    text: " || (found.session !== undefined && Session.login(found.session) === Session.login(login))",
    replacement: "",
    falls: "a program that imports the same document"
  },
  {
    name: "what a login replaces is judged after its echo",
    rule: 13,
    file: "keeper/internal/change.ts",
    text:
      "      entries.replaced(entry)\n      entries.hold(entry, next, next.generation)\n      yield* Effect.forEach(options.revokePrevious ? replaced.sessions",
    replacement:
      "      const late = replacedBy(entry, found, Session.login(next))\n      entries.replaced(entry)\n      entries.hold(entry, next, next.generation)\n      yield* Effect.forEach(options.revokePrevious ? late.sessions",
    falls: "the last that the IAM is told to revoke"
  },
  {
    name: "an unsaved answer is dropped in silence at a sibling's logout",
    rule: 17,
    file: "keeper/internal/decision.ts",
    text: "isAsFound ? memory : { _tag: \"Stored\", revoke: true }",
    replacement: "isAsFound ? memory : { _tag: \"Stored\", revoke: false }",
    falls: "the last that the IAM is told to revoke"
  },
  {
    name: "a storage may take for ever",
    rule: 20,
    file: "keeper/internal/persistence.ts",
    text: "duration: RefreshPolicy.storageTimeLimit",
    replacement: "duration: Duration.infinity",
    falls: "a storage that never answers"
  },
  {
    name: "what could not be removed stays signed in",
    rule: 20,
    file: "keeper/internal/change.ts",
    text: "      entries.leftBehind(entry, found?.session)\n      const",
    replacement: "      const",
    falls: "a logout whose document cannot be removed"
  },
  {
    name: "an answer that is refused a write gives way",
    rule: 17,
    file: "keeper/internal/persistence.ts",
    text: "          if (standing._tag === \"Stored\") {",
    replacement: "          if (standing._tag !== undefined) {",
    falls: "a sibling amends the document"
  },
  {
    name: "a refusal leaves its intent where a sibling wrote",
    rule: 19,
    file: "keeper/internal/renewal.ts",
    text: "if (Result.isSuccess(written) || !persistence.isConflict(written.failure)) return\n",
    replacement: "if (written !== undefined) return\n",
    falls: "a sibling amends the document between the intent and a refusal"
  },
  {
    name: "a login's first generation is not drawn",
    rule: 15,
    file: "keeper/internal/change.ts",
    text: "Math.floor(random.nextDoubleUnsafe() * 1024)",
    replacement: "0",
    falls: "one signs out and another in within a millisecond",
    unseen: "a phrase that leads there also meets two equal draws of 1,024, which nothing can tell apart"
  },
  {
    name: "a login that could not be stored dies as an answer",
    rule: 15,
    file: "keeper/internal/renewal.ts",
    text: "kind: unsaved?.kind ?? \"answer\",\n        bought: [...unsaved",
    replacement: "kind: \"answer\",\n        bought: [...unsaved",
    falls: "a login that could not be stored"
  },
  {
    name: "what a login was to replace is no part of a logout",
    rule: 20,
    file: "keeper/internal/entry.ts",
    text: "        ...ended,\n        ...(unsaved?.replaced ?? [])\n",
    replacement: "        ...ended.slice(0, 1)\n",
    falls: "a logout whose document cannot be removed"
  },
  {
    name: "a login that cannot look takes nobody's place",
    rule: 15,
    file: "keeper/internal/entry.ts",
    text: "[stored, session?.durable === true ? session : undefined]",
    replacement: "[stored]",
    falls: "a login while the storage is away",
    unseen: "the disks of the model can always be read"
  },
  {
    name: "a login that cannot be stored forgets what was left behind",
    rule: 20,
    file: "keeper/internal/entry.ts",
    text: "...(unsaved?.replaced ?? []), ...left])]",
    replacement: "...(unsaved?.replaced ?? [])])]",
    falls: "a login while the storage is away"
  }
]
