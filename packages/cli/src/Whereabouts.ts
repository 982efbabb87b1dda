/**
 * Where a session was looked for, and what lies elsewhere: for whoever is told that nobody is signed in.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "node:path"
import * as Account from "./Account.ts"
import * as AccountServices from "./AccountServices.ts"
import * as EnvironmentToken from "./EnvironmentToken.ts"
import * as LeftBehind from "./LeftBehind.ts"
import * as Output from "./Output.ts"

type Place = LeftBehind.Leftover["place"]

const places: ReadonlyArray<Place> = ["keyring", "encrypted-file", "sqlite", "plain-file"]

const kind: { readonly [P in Place]: string } = {
  "keyring": "one whose key is in the keychain",
  "encrypted-file": "an encrypted one",
  "sqlite": "an encrypted one",
  "plain-file": "one in a plain file"
}

const isEncrypted = (place: Place): boolean => place === "encrypted-file" || place === "sqlite"

/** What to do about a place whose sessions cannot be read as things are. */
const lack = Effect.fnUntraced(function*(place: Place) {
  return isEncrypted(place) && !(yield* EnvironmentToken.hasKey)
    ? `, and there is no key: set ${EnvironmentToken.keyVariables.join(" or ")}`
    : ""
})

/**
 * Where the session of an account was looked for, and where else there is one of it.
 */
export const ofAccount = Effect.fnUntraced(function*(name: string) {
  const account = yield* Account.get(name)
  if (Option.isNone(account)) return []
  const { place } = account.value
  const data = yield* Account.directory
  const fs = yield* FileSystem.FileSystem
  const short = yield* Output.short
  const [key] = AccountServices.sessionKeys(account.value)
  const own = yield* LeftBehind.fileOf(place, key)
  const lines = [
    place === "memory"
      ? "Its session was kept in memory, and ended with its program."
      : `Looked in ${
        short(Option.match(own, {
          onNone: () => Path.join(data, place),
          onSome: (file) => Path.dirname(file)
        }))
      } (${place}).`
  ]
  for (const other of places) {
    const file = yield* LeftBehind.fileOf(other, key)
    if (other === place || Option.isNone(file) || !(yield* fs.exists(file.value))) continue
    lines.push(
      `There is ${kind[other]} in ${short(Path.dirname(file.value))}${yield* lack(other)}. ` +
        `authn login --storage ${other} keeps it there`
    )
  }
  return lines
})

/**
 * Where accounts were looked for, and which sessions lie beside them that no account lists: programs keep theirs there,
 * too.
 */
export const withoutAccount = Effect.gen(function*() {
  const short = yield* Output.short
  const data = yield* Account.directory
  const found = (yield* LeftBehind.find).filter(({ kind }) => kind === "session")
  const lines = [`Looked in ${short(Path.join(data, "accounts"))}.`]
  for (const place of places) {
    const [first, ...more] = found.filter((one) => one.place === place)
    if (first === undefined) continue
    const [a, what] = isEncrypted(place) ? ["an", "encrypted "] : ["a", ""]
    const count = more.length === 0 ? `is ${a} ${what}session` : `are ${more.length + 1} ${what}sessions`
    lines.push(`There ${count} of other programs in ${short(Path.dirname(first.path))}${yield* lack(place)}`)
  }
  return lines
})
