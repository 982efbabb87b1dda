/**
 * `authn vault`: keep the sessions of many people at many IAMs, for the services that act for them.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Flags from "./Flags.ts"

// Loaded by who needs them, so that no other command starts slower for them.
const loadServe = Effect.promise(() => import("./Serve.ts"))
const loadTokens = Effect.promise(() => import("./Tokens.ts"))

const name = Argument.String("name").pipe(Argument.withDescription("The name of the token"))

const create = Command.make(
  "create",
  { name, ...Flags.create },
  (given) => Effect.flatMap(loadTokens, ({ create }) => create(given))
).pipe(
  Command.withDescription("Make a service token, and print it this once"),
  Command.withExamples([{
    command: "authn vault token create calendar-sync --right token --accounts team-a/ --lifetime 90d",
    description: "For a service that takes tokens of one team"
  }])
)

const list = Command.make(
  "list",
  { store: Flags.store },
  (given) => Effect.flatMap(loadTokens, ({ list }) => list(given))
).pipe(
  Command.withDescription("Show which service tokens there are")
)

const revoke = Command.make(
  "revoke",
  { name, store: Flags.store },
  (given) => Effect.flatMap(loadTokens, ({ revoke }) => revoke(given))
).pipe(
  Command.withDescription("End a service token")
)

const token = Command.make("token").pipe(
  Command.withDescription("Tokens by which services call the vault"),
  Command.withSubcommands([create, list, revoke])
)

/**
 * Serves, and keeps its service tokens.
 */
export const command = Command.make(
  "vault",
  Flags.serve,
  (given) => Effect.flatMap(loadServe, ({ serve }) => serve(given))
).pipe(
  Command.withDescription("Keep the sessions of many people, and hand out tokens to services"),
  Command.withSubcommands([token]),
  Command.withExamples([
    { command: "authn vault --providers providers.toml", description: "A vault on this machine, in a file of SQLite" },
    {
      command: "authn vault --store postgres://vault@db.internal/vault --key-file vault.key --behind-tls-proxy",
      description: "One machine of a fleet: all with the same store and key"
    }
  ])
)
