/**
 * What a shell offers behind `authn`: commands and flags, the values that a flag has, and the names of the accounts, which it
 * asks for when they are needed.
 */
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import type * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import * as Account from "./Account.ts"

/** A shell for which there is a script. */
export type Shell = "bash" | "zsh" | "fish"

// A word that no script escapes, in the place of what the shell asks for.
const accounts = "AUTHN-ACCOUNT-NAMES"
const asked = "authn accounts names 2>/dev/null"

const choice = (...values: ReadonlyArray<string>): Completions.FlagType => ({ _tag: "Choice", values })
const file: Completions.FlagType = { _tag: "Path", pathType: "file" }

const types: { readonly [flag: string]: Completions.FlagType } = {
  "account": choice(accounts),
  "callback-host": choice(...Account.CallbackHost.literals),
  "client-auth": choice(...Account.ClientAuth.literals),
  "dialect": choice(...Account.Dialect.literals),
  "file": file,
  "key": file,
  "key-file": file,
  "metadata": file,
  "min-ttl": choice("1m", "5m", "15m", "1h"),
  "output": file,
  "prompt": choice("login", "consent", "select_account"),
  "storage": choice(...StoragePolicy.Policy.literals),
  "timeout": choice("10s", "30s", "1m", "5m")
}

const everywhere: ReadonlyArray<Completions.FlagDescriptor> = [
  { name: "account", aliases: [], description: "Which login", type: { _tag: "String" } },
  { name: "json", aliases: [], description: "Print data as JSON", type: { _tag: "Boolean" }, negation: false },
  { name: "help", aliases: ["h"], description: "Show what there is", type: { _tag: "Boolean" }, negation: false }
]

const withValues = (
  { arguments: given, flags, name, subcommands, ...rest }: Completions.CommandDescriptor,
  parent = ""
): Completions.CommandDescriptor => ({
  ...rest,
  name,
  flags: [...flags, ...everywhere].map((flag) =>
    Object.assign({}, flag, flag.type._tag === "String" ? { type: types[flag.name] ?? flag.type } : {})
  ),
  arguments: given.map((argument) =>
    Object.assign(
      {},
      argument,
      parent === "accounts" && argument.name === "name"
        ? { type: choice(accounts) }
        : name === "git" && argument.name === "operation"
        ? { type: choice("get", "store", "erase") }
        : {}
    )
  ),
  subcommands: subcommands.map((command) => withValues(command, name))
})

const calls: { readonly [S in Shell]: readonly [word: string, call: string] } = {
  bash: [`'${accounts}'`, `$(${asked})`],
  zsh: [`(${accounts})`, `($(${asked}))`],
  fish: [`'${accounts}'`, `'(${asked})'`]
}

/** The script of a shell. */
export const script = (shell: Shell, command: Command.Command.Any): string => {
  const [word, call] = calls[shell]
  return Completions.generate("authn", shell, withValues(Completions.fromCommand(command))).replaceAll(word, call)
}
