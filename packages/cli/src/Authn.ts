/**
 * The whole command, wherever it runs: `Process` runs it as a program.
 */
import * as EncryptionKeys from "@effect-authn/core/storage/EncryptionKeys"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as CliConfig from "effect/cli/CliConfig"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import type { HelpDoc } from "effect/cli/HelpDoc"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"
import * as Accounts from "./commands/Accounts.ts"
import * as Credential from "./commands/Credential.ts"
import * as Doctor from "./commands/Doctor.ts"
import * as Exec from "./commands/Exec.ts"
import * as Explain from "./commands/Explain.ts"
import * as Jwt from "./commands/Jwt.ts"
import * as Login from "./commands/Login.ts"
import * as Status from "./commands/Status.ts"
import * as Token from "./commands/Token.ts"
import * as Transfer from "./commands/Transfer.ts"
import * as Completion from "./Completion.ts"
import * as Failure from "./Failure.ts"
import * as Input from "./Input.ts"
import * as Mcp from "./mcp/Mcp.ts"
import * as Output from "./Output.ts"
import * as Settings from "./Settings.ts"
import * as Simulator from "./Simulator.ts"
import * as Text from "./Text.ts"
import * as Vault from "./vault/Vault.ts"
import * as Warnings from "./Warnings.ts"
import * as Whereabouts from "./Whereabouts.ts"

const completions = GlobalFlag.Action({
  flag: Flag.Literals("completions", ["bash", "zsh", "fish"]).pipe(
    Flag.withMetavar("SHELL"),
    Flag.withDescription("Print shell completions"),
    Flag.optional
  ),
  run: (shell, { command }) =>
    Option.match(shell, {
      onNone: () => Effect.void,
      // An action's type has no room for what it needs and how it fails.
      onSome: (shell) =>
        Effect.flatMap(
          Effect.serviceOption(Stdio.Stdio),
          Option.match({
            onNone: () => Effect.void,
            onSome: (stdio) =>
              Output.raw(`${Completion.script(shell, command)}\n`).pipe(
                Effect.provideService(Stdio.Stdio, stdio),
                Effect.orDie
              )
          })
        )
    })
})

const authn = Command.make("authn").pipe(
  Command.withDescription("Sign in once, stay signed in: a token that is valid now, for everything"),
  Command.withSubcommands([
    Login.command,
    Token.token,
    Token.whoami,
    Status.command,
    Token.refresh,
    Accounts.logout,
    Accounts.accounts,
    Exec.exec,
    Credential.command,
    Jwt.command,
    Transfer.exportCommand,
    Transfer.importCommand,
    Mcp.command,
    Vault.command,
    Explain.explain,
    Explain.config,
    Doctor.command,
    Simulator.manifest() !== undefined ? Exec.simulator : Command.unlisted(Exec.simulator)
  ]),
  Command.withGlobalFlags([Settings.AccountFlag, Settings.JsonFlag, completions])
)

const secretFlags: { readonly [flag: string]: string } = {
  "--password": "--password-stdin",
  "--token": "--token-stdin",
  "--client-secret": "--client-secret-stdin"
}

/** What is wrong with what was typed, without any value of it that may be secret. */
const mistake = (error: CliError.CliError): string => {
  switch (error._tag) {
    case "UnrecognizedOption":
      return piped(secretFlags[error.option]) ?? error.message
    case "InvalidValue":
      return piped(Object.values(secretFlags).find((flag) => flag === `--${error.option}`)) ??
        `${error.kind === "flag" ? `--${error.option}` : error.option} takes ${error.expected}`
    case "UnexpectedArgument":
      return "there is an argument too many"
    case "UnknownSubcommand":
      return error.suggestions.length > 0 ? error.message : "there is no such command"
    default:
      return error.message
  }
}

const piped = (flag: string | undefined): string | undefined =>
  flag && `a secret is never an argument, where every program can read it: pipe it in with ${flag}`

/** The help of a command that takes another account than the rest. */
const own = (help: HelpDoc): HelpDoc =>
  !/^authn mcp\b/.test(help.usage) || help.globalFlags === undefined ? help : {
    ...help,
    globalFlags: help.globalFlags.map((flag) =>
      flag.name === "account" ? { ...flag, description: Option.some(Mcp.accountDescription) } : flag
    )
  }

/** Help that was asked for is data; what is wrong is said in one line, for people. */
const presenter = Effect.map(Effect.context<Stdio.Stdio>(), (stdio): CliOutput.Presenter => ({
  present: Effect.fnUntraced(function*(event) {
    const colors = (yield* Output.paint(event._tag === "InvalidInvocation" ? "stderr" : "stdout")).bold("x") !== "x"
    const formatter = CliOutput.defaultFormatter({ colors })
    switch (event._tag) {
      case "Help":
        // The formatter leaves out the blank line between subcommands and examples.
        return yield* Effect.ignore(
          Output.help(`${formatter.formatHelpDoc(own(event.helpDoc)).replace(/(?<!\n)\n(?=\S*EXAMPLES)/, "\n\n")}\n`)
        )
      case "Version":
        return yield* Effect.ignore(Output.out(formatter.formatVersion(event.name, event.version)))
      case "InvalidInvocation": {
        // Only the first: the others may show what was meant to be secret.
        const [error] = event.errors
        const what = error === undefined ? "that cannot be done" : mistake(error)
        return yield* Output.say(`authn: ${what}`, `See: ${event.commandPath.join(" ")} --help`)
      }
    }
  }, Effect.provideContext(stdio))
}))

/** Who waits for another program is told at once for which, and what ends that. */
const layerWaiting = Layer.unwrap(
  Effect.map(Effect.context<Stdio.Stdio>(), (stdio) => {
    const say = ({ message }: { readonly message: string }) =>
      Effect.provideContext(Output.say(`authn: ${message}`), stdio)
    return Layer.merge(Layer.succeed(SessionLock.OnWait, say), Layer.succeed(EncryptionKeys.OnWait, say))
  })
)

/** What the command needs beside the services of the platform. It takes the place of the platform's terminal. */
export const layer: Layer.Layer<Terminal.Terminal | Warnings.Warnings, never, Stdio.Stdio | Terminal.Terminal> = Layer
  .mergeAll(
    CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version] }),
    Layer.effect(CliOutput.Presenter, presenter),
    Input.layerTheme,
    Input.layerTerminal,
    layerWaiting,
    Layer.effect(Output.Width, Effect.map(Terminal.Terminal, ({ columns }) => columns)),
    Warnings.layer
  )

/** A hint is worth no second failure. */
const flagFor = (name: string) => Effect.orElseSucceed(Settings.flagFor(name), () => ` --account ${name}`)

/** All commands, by the words after `authn` that name them. */
export const paths = (
  { subcommands } = Completions.fromCommand(authn),
  parents: ReadonlyArray<string> = []
): ReadonlyArray<ReadonlyArray<string>> => [
  parents,
  ...subcommands.flatMap((command) => paths(command, [...parents, command.name]))
]

const command = Command.runWith(authn, { version: "0.1.0" })

/** Runs the command with these arguments, and says how it failed. */
export const run = (args: ReadonlyArray<string>) =>
  Effect.onExit(
    command(args),
    Effect.fnUntraced(function*(exit) {
      const { isUnknown, signInTo, text } = Exit.isSuccess(exit) ? {} : Failure.describe(exit.cause)
      yield* Warnings.Warnings.use(({ flush }) => flush(text))
      // What failed is said in the words of others, too.
      if (text !== undefined && text !== "") yield* Output.say(`authn: ${Text.unstyled(text)}`)
      if (isUnknown === true) {
        yield* Output.say(...(yield* Effect.orElseSucceed(Whereabouts.withoutAccount, () => [])))
      }
      if (signInTo === undefined) return
      const where = yield* Effect.orElseSucceed(Whereabouts.ofAccount(signInTo), () => [])
      yield* Output.say(...where, `Sign in with: authn login${yield* flagFor(signInTo)}`)
    })
  )

/** The exit code of the command, which is `interrupted` where a signal ended it. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>, interrupted?: number): number =>
  Exit.isSuccess(exit) ? 0 : Failure.describe(exit.cause, interrupted).exitCode
