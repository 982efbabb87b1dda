/**
 * `authn vault`: keep the sessions of many people at many IAMs, for the services that act for them.
 */
import * as Command from "effect/cli/Command"
import * as Serve from "./Serve.ts"
import * as Tokens from "./Tokens.ts"

/**
 * Serves, and keeps its service tokens.
 */
export const command = Command.make("vault", Serve.flags, Serve.serve).pipe(
  Command.withDescription("Keep the sessions of many people, and hand out tokens to services"),
  Command.withSubcommands([Tokens.command]),
  Command.withExamples([
    { command: "authn vault --providers providers.toml", description: "A vault on this machine, in a file of SQLite" },
    {
      command: "authn vault --store postgres://vault@db.internal/vault --key-file vault.key --behind-tls-proxy",
      description: "One machine of a fleet: all with the same store and key"
    }
  ])
)
