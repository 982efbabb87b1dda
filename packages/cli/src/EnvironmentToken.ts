/**
 * Tokens that environment variables hold.
 */
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { createHash } from "node:crypto"
import type * as Account from "./Account.ts"
import { type Failure, usage } from "./Failure.ts"

/** What a variable says, where it says anything. A file with Windows' line ends leaves a CR at the end of each. */
export const setIn = (name: string): Effect.Effect<Option.Option<string>> =>
  Effect.map(
    Effect.option(Config.String(name)),
    (value) => Option.filter(Option.map(value, (text) => text.replace(/\r+$/, "")), (text) => text !== "")
  )

/**
 * The variables of keys, which open every encrypted session: `authn exec` hands them on only where it is told to.
 */
export const keyVariables: ReadonlyArray<string> = ["AUTHN_KEY", "AUTHN_PASSPHRASE"]

/**
 * The names that a variable has: its own, and the one that it had earlier.
 */
export const namesOf = (variable: string): readonly [string, string] => [variable, `EFFECT_${variable}`]

/**
 * Whether a key is set, under whatever name.
 */
export const hasKey: Effect.Effect<boolean> = Effect.map(
  Effect.forEach(keyVariables.flatMap(namesOf), setIn),
  (found) => found.some(Option.isSome)
)

/**
 * The variable that marks a token which `authn exec` took from a session.
 */
export const markVariable = "AUTHN_EXEC"

/**
 * The mark of a token; `isKeyKept` says that the key of its session was not handed on.
 */
export const mark = (token: string, { isKeyKept }: { readonly isKeyKept: boolean }): string =>
  `${createHash("sha256").update(token).digest("hex")}${isKeyKept ? " without-key" : ""}`

/** What a mark says of the token in a variable: a token that somebody else put there has another hash. */
const marked = Effect.fnUntraced(function*(token: string) {
  const text = yield* setIn(markVariable)
  if (Option.contains(text, mark(token, { isKeyKept: false }))) return "renewable"
  if (!Option.contains(text, mark(token, { isKeyKept: true }))) return "given"
  return (yield* hasKey) ? "renewable" : "without key"
})

/**
 * A token of the environment; `isWithoutKey` says that \`authn exec\` took it from a session whose key it did not hand on.
 * `token` fails where it cannot be one.
 */
export interface GivenToken {
  readonly variable: string
  readonly isWithoutKey: boolean
  readonly token: Effect.Effect<Redacted.Redacted, Failure>
}

/**
 * The tokens of the environment, in the order in which they go first.
 */
export const givenTokens = Effect.fnUntraced(function*(dialect: Account.Dialect | undefined) {
  const found: Array<GivenToken> = []
  for (const variable of tokenVariables(dialect)) {
    const text = Option.map(yield* setIn(variable), (value) => value.trim())
    if (Option.isNone(text) || text.value === "") continue
    const origin = yield* marked(text.value)
    // Its session is there, and can renew it.
    if (origin === "renewable") continue
    const token = Effect.mapError(
      Effect.fromOption(TokenSet.accessTokenFrom(text.value)),
      () => usage(`${variable} holds no token, but something that no header can carry: put a token there, or unset it`)
    )
    found.push({ variable, isWithoutKey: origin === "without key", token })
  }
  return found
})

/**
 * The token of the environment that goes before every stored session, unless an account was named by flag.
 */
export const givenToken = (
  { dialect, isTold }: { readonly dialect: Account.Dialect | undefined; readonly isTold: boolean }
) => isTold ? Effect.succeedNone : Effect.map(givenTokens(dialect), ([first]) => Option.fromUndefinedOr(first))

/**
 * The variables in which a token is looked for, in order.
 */
export const tokenVariables = (dialect: Account.Dialect | undefined): ReadonlyArray<string> => [
  "AUTHN_TOKEN",
  ...(dialect === "datalayer" ? ["DATALAYER_API_KEY", "DATALAYER_ACCESS_TOKEN"] : [])
]
