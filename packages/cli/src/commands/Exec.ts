/**
 * `authn exec` and `authn simulator`: other programs, as if they were this one.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createRequire } from "node:module"
import * as Path from "node:path"
import { execPath } from "node:process"
import * as CurrentToken from "../CurrentToken.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import { failed, usage } from "../Failure.ts"
import * as Program from "../Program.ts"
import * as Settings from "../Settings.ts"
import * as Simulator from "../Simulator.ts"
import * as Waiting from "../Waiting.ts"
import { minTtl } from "./Token.ts"

/**
 * Runs a program with a token in its environment.
 */
export const exec = Command.make("exec", {
  env: Flag.String("env").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("The variable that holds the token"),
    Flag.withDefault("AUTHN_TOKEN")
  ),
  minTtl,
  ...Waiting.flags,
  passKey: Flag.Boolean("pass-key").pipe(
    Flag.withDescription(
      `Hand on ${EnvironmentToken.keyVariables.join(" and ")}, with which the program can read every session`
    ),
    Flag.withDefault(false)
  ),
  command: Argument.String("command").pipe(
    Argument.withDescription("The program and its arguments, after --"),
    Argument.atLeast(1)
  )
}, ({ command, env, minTtl, passKey, ...given }) =>
  Effect.gen(function*() {
    if (!/^[A-Za-z_]\w*$/.test(env)) return yield* usage(`"${env}" cannot be the name of a variable`)
    const [name = "", ...args] = command
    if (name === "") return yield* usage("the program after -- has no name: is a variable empty there?")
    const { settings, tokens } = yield* Waiting.within(
      given,
      Effect.flatMap(
        Settings.make(),
        (settings) => Effect.map(CurrentToken.get(settings, { minTtl }), (tokens) => ({ settings, tokens }))
      )
    )
    const isStored = Option.isNone(yield* EnvironmentToken.givenToken(settings))
    const token = Redacted.value(tokens.accessToken)
    const isKeyKept = !passKey && (yield* EnvironmentToken.hasKey) &&
      Option.exists(settings.account, ({ place }) => place === "encrypted-file" || place === "sqlite")
    yield* Program.become(name, args, {
      ...(passKey
        ? {}
        : Object.fromEntries(
          EnvironmentToken.keyVariables.flatMap(EnvironmentToken.namesOf).map((key) => [key, undefined])
        )),
      // Inside, the same account is meant, and its session renews what is given here.
      ...(isStored
        ? { AUTHN_ACCOUNT: settings.name, [EnvironmentToken.markVariable]: EnvironmentToken.mark(token, { isKeyKept }) }
        : {}),
      [env]: token
    })
  })).pipe(
    Command.withDescription("Run a program with a token in its environment"),
    Command.withExamples([
      { command: "authn exec -- ./deploy.sh", description: "The token is in AUTHN_TOKEN" },
      { command: "authn exec --env GITLAB_TOKEN -- glab api user", description: "… or in another variable" }
    ])
  )

const decodeManifest = Schema.decodeUnknownOption(
  Schema.Struct({ bin: Schema.Struct({ "iam-simulator": Schema.String }) })
)

// What is packed has a `bin` of JavaScript; in a checkout Node runs the source.
const simulatorFile = (): string | undefined => {
  const manifest = Simulator.manifest()
  if (manifest === undefined) return undefined
  const file = Option.match(decodeManifest(createRequire(import.meta.url)(manifest)), {
    onNone: () => "src/bin/simulator.ts",
    onSome: ({ bin }) => bin["iam-simulator"]
  })
  return Path.join(Path.dirname(manifest), file)
}

/**
 * Starts the IAM simulator of the package `@effect-authn/testing`, where that is installed.
 */
export const simulator = Command.make("simulator", {
  options: Argument.String("options").pipe(
    Argument.withDescription("Options of the simulator, after --; try: authn simulator -- --help"),
    Argument.atLeast(0)
  )
}, ({ options }) =>
  Effect.suspend(() => {
    const file = simulatorFile()
    return file === undefined
      ? Effect.fail(failed("there is no simulator here: install @effect-authn/testing beside authn"))
      : Program.become(execPath, [file, ...options], {})
  })).pipe(Command.withDescription("Start an IAM to try things out with, on this machine"))
