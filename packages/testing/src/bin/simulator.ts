/**
 * The IAM simulator from a shell. It prints one line of JSON on stdout when it listens, logs on stderr, and runs until
 * SIGTERM or SIGINT: whoever starts it ends it.
 *
 * @since 0.1.0
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as IamSimulator from "../IamSimulator.ts"
import { Fault, Knobs, Route } from "../SimulatorApi.ts"

const duration = (name: string, byDefault: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withSchema(Schema.DurationFromString),
    Flag.withMetavar("DURATION"),
    Flag.withDescription(`${description} (default "${byDefault}")`),
    Flag.withDefault(Schema.decodeSync(Schema.DurationFromString)(byDefault))
  )

const flags = {
  port: Flag.Int("port").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
    Flag.withDescription("The port on 127.0.0.1; 0, the default, is one that is free"),
    Flag.withDefault(0)
  ),
  user: Flag.String("user").pipe(
    Flag.withSchema(IamSimulator.User),
    Flag.withMetavar("HANDLE:PASSWORD"),
    Flag.withDescription("A user, may be repeated (default ada:correct-horse-battery)"),
    Flag.atLeast(0)
  ),
  tokenLifetime: duration("token-lifetime", "60 seconds", "How long access tokens live"),
  latency: duration("latency", "0 millis", "How long after acting on a request the answer is sent"),
  clockSkew: duration(
    "clock-skew",
    "0 seconds",
    "How far the simulator's clock is ahead; \"--clock-skew=-5 seconds\": behind"
  ),
  rotation: Flag.Literals("rotation", Knobs.fields.rotation.literals).pipe(
    Flag.withDescription("What becomes of a refresh token that was used (default rotate)"),
    Flag.withDefault("rotate")
  ),
  bareRefresh: Flag.Literals("bare-refresh", Knobs.fields.bareRefresh.literals).pipe(
    Flag.withDescription("Whether a refresh without a project keeps it, or resets it to the default (default keep)"),
    Flag.withDefault("keep")
  ),
  omitRefreshToken: Flag.Boolean("omit-refresh-token").pipe(
    Flag.withDescription("Answer refreshes without a refresh token; the old one stays good"),
    Flag.withDefault(false)
  ),
  successStatus: Flag.ChoiceWithValue("success-status", [["201", 201], ["200", 200]]).pipe(
    Flag.withDescription("The status of a successful login or refresh (default 201)"),
    Flag.withDefault(201)
  ),
  fail: Flag.String("fail").pipe(
    Flag.withSchema(Fault),
    Flag.withMetavar("ROUTE:WHAT:COUNT"),
    Flag.withDescription(
      `What the next COUNT requests of a route meet, may be repeated. WHAT: a status from 400 to 599, drop, lost, html ` +
        `or hang. ROUTE: ${Route.literals.join(", ")}`
    ),
    Flag.atLeast(0)
  )
}

const encodeLine = Schema.encodeEffect(Schema.fromJsonString(Schema.Struct({ issuer: Schema.String, pid: Schema.Int })))

const simulator = Command.make("simulator", flags, () =>
  Effect.gen(function*() {
    const { issuer } = yield* IamSimulator.IamSimulator
    yield* Console.log(yield* encodeLine({ issuer, pid: process.pid }))
    yield* Effect.logInfo(`The IAM simulator listens at ${issuer}`)
    return yield* Effect.never
  })).pipe(
    Command.withDescription("An IAM for tests and demonstrations, on loopback"),
    Command.provide(({ user, ...knobs }) =>
      IamSimulator.layer({ ...knobs, ...(user.length === 0 ? {} : { users: user }) }).pipe(
        Layer.catchTag("ServeError", ({ cause }) =>
          Layer.effect(
            IamSimulator.IamSimulator,
            new CliError.UserError({
              cause,
              userMessage: `Cannot listen on port ${knobs.port} of 127.0.0.1: ${String(cause)}`
            })
          ))
      )
    )
  )

Command.run(simulator, { version: "0.1.0" }).pipe(
  // The entry point of the program.
  // oxlint-disable-next-line effecttsgo/strict-effect-provide
  Effect.provide(NodeServices.layer),
  Effect.provideService(References.LogToStderr, true),
  NodeRuntime.runMain({
    // What is wrong with a flag was already said, in words.
    disableErrorReporting: true,
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)
  })
)
