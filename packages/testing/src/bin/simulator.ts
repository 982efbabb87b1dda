#!/usr/bin/env node
/**
 * The simulators from a shell: an IAM of the two REST dialects, or a whole OpenID provider. It prints one line of JSON on
 * stdout when it listens, logs on stderr, and runs until SIGTERM or SIGINT: whoever starts it ends it.
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
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { ServeError } from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as IamSimulator from "../IamSimulator.ts"
import * as ProviderControl from "../internal/providerControl.ts"
import * as OidcProvider from "../OidcProvider.ts"
import { Fault, Knobs, Route } from "../SimulatorApi.ts"

const duration = (name: string, byDefault: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withSchema(Schema.DurationFromString),
    Flag.withMetavar("DURATION"),
    Flag.withDescription(`${description} (default "${byDefault}")`),
    Flag.withDefault(Schema.decodeSync(Schema.DurationFromString)(byDefault))
  )

const flags = {
  dialect: Flag.Literals("dialect", ["datalayer", "genomcore", "oidc"]).pipe(
    Flag.withDescription(
      "What it speaks: datalayer and genomcore are one server (the default), oidc is a provider of OpenID Connect"
    ),
    Flag.withDefault("datalayer")
  ),
  port: Flag.Int("port").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
    Flag.withDescription("The port on 127.0.0.1; 0, the default, is one that is free"),
    Flag.withDefault(0)
  ),
  user: Flag.String("user").pipe(
    Flag.withSchema(IamSimulator.User),
    Flag.withMetavar("HANDLE:PASSWORD"),
    Flag.withDescription(
      "A user, may be repeated (default ada:correct-horse-battery); an OpenID provider takes every name and password"
    ),
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
  reuseGrace: duration("reuse-grace", "0 seconds", "oidc: how long after its first use a refresh token is still taken"),
  state: Flag.String("state").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("oidc: keeps keys, sessions and tokens across restarts; take a fixed --port with it"),
    Flag.optional
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
    Flag.withMetavar("ROUTE:WHAT:COUNT"),
    Flag.withDescription(
      `What the next COUNT requests of a route meet, may be repeated. WHAT: a status from 400 to 599, drop, lost, html ` +
        `or hang. ROUTE: ${Route.literals.join(", ")}; of oidc: ${ProviderControl.routeNames.join(", ")}`
    ),
    Flag.atLeast(0)
  )
}

const wrong = (userMessage: string) => (cause: unknown) => new CliError.UserError({ cause, userMessage })

const cannotListen = (port: number) => ({ cause }: ServeError) =>
  wrong(`Cannot listen on port ${port} of 127.0.0.1: ${String(cause)}`)(cause)

/** The faults of a command line, by the routes of its dialect. */
const faults = <F>(schema: Schema.Codec<F, string>, texts: ReadonlyArray<string>) =>
  Effect.forEach(texts, (text) =>
    Effect.mapError(
      Schema.decodeEffect(schema)(text),
      (error) => wrong(`Invalid value for flag --fail: "${text}". ${error.message}`)(error)
    ))

const encodeLine = Schema.encodeEffect(Schema.fromJsonString(Schema.JsonObject))

/** Says where it listens, in a line for programs and one for people, and goes on until a signal. */
const listens = Effect.fnUntraced(function*(name: string, issuer: string, clients: Record<string, Schema.Json>) {
  yield* Console.log(yield* encodeLine({ issuer, pid: process.pid, ...clients }))
  yield* Effect.logInfo(`The ${name} listens at ${issuer}`)
  return yield* Effect.never
})

type Given = Command.Command.Config.Infer<typeof flags>

const rest = Effect.fnUntraced(function*({ fail, port, reuseGrace, state, user, ...knobs }: Omit<Given, "dialect">) {
  if (Option.isSome(state)) return yield* wrong("--state is for --dialect oidc: the other dialects begin anew")(state)
  if (Duration.toMillis(reuseGrace) > 0) return yield* wrong("--reuse-grace is for --dialect oidc")(reuseGrace)
  const context = yield* Layer.build(IamSimulator.layer({
    ...knobs,
    port,
    fail: yield* faults(Fault, fail),
    ...(user.length === 0 ? {} : { users: user })
  })).pipe(Effect.catchTag("ServeError", (error) => Effect.fail(cannotListen(port)(error))))
  const { issuer } = Context.get(context, IamSimulator.IamSimulator)
  return yield* listens("IAM simulator", issuer, {})
})

const oidc = Effect.fnUntraced(function*(given: Given) {
  if (given.user.length > 0) {
    return yield* wrong("--user is for the other dialects: an OpenID provider here takes every name and password")(
      given
    )
  }
  const fail = yield* faults(ProviderControl.Fault, given.fail)
  const context = yield* Layer.build(OidcProvider.layerAt(
    { port: given.port, ...(Option.isSome(given.state) ? { state: given.state.value } : {}) },
    { accessTokenLifetime: given.tokenLifetime, rotation: given.rotation, reuseGrace: given.reuseGrace }
  )).pipe(
    Effect.catchTags({
      ServeError: (error) => Effect.fail(cannotListen(given.port)(error)),
      IllegalArgumentError: (error) => Effect.fail(wrong(error.message)(error))
    })
  )
  const provider = Context.get(context, OidcProvider.OidcProvider)
  yield* provider.proxy.setKnobs({ fail, latency: given.latency, clockSkew: given.clockSkew })
  return yield* listens("OpenID provider", provider.issuer, {
    resource: provider.resource,
    client: provider.publicClient.id,
    clientWithSecret: { id: provider.secretClient.id, secret: Redacted.value(provider.secretClient.secret) }
  })
})

const simulator = Command.make(
  "simulator",
  flags,
  (given) => Effect.scoped(given.dialect === "oidc" ? oidc(given) : rest(given))
).pipe(
  Command.withDescription("An IAM for tests and demonstrations, on loopback"),
  Command.withExamples([
    { command: "simulator --token-lifetime '30 seconds'", description: "Users sign in with ada:correct-horse-battery" },
    {
      command: "simulator --dialect oidc --port 9400 --state provider.json",
      description: "Any name signs in, with client cli, in a browser or with a code; it is there again after a restart"
    }
  ])
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
