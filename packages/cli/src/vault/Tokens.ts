/**
 * `authn vault token`: the service tokens of a vault, made and revoked in its store, whether or not it runs.
 */
import { Name, Right, ServiceTokens } from "@effect-authn/core/storage/ServiceTokens"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import { failed, usage } from "../Failure.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as TimeSpan from "../TimeSpan.ts"
import * as Store from "./Store.ts"

/** What a command does with the tokens of a store. */
const within = <A, E, R>(store: Option.Option<string>, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(
    Effect.flatMap(Store.find(store), (place) => Layer.build(Store.serviceTokens(place))),
    (built) => Effect.provideContext(effect, built)
  ))

const name = Argument.String("name").pipe(Argument.withDescription("The name of the token"))

const isName = Schema.is(Name)

const create = Command.make("create", {
  name,
  store: Store.storeFlag,
  right: Flag.Literals("right", Right.literals).pipe(
    Flag.withDescription("What it may do; may be repeated. Default: token"),
    Flag.atLeast(0)
  ),
  accounts: Flag.String("accounts").pipe(
    Flag.withMetavar("PREFIX"),
    Flag.withDescription("How the accounts begin that it is for; all of them unless told"),
    Flag.optional
  ),
  lifetime: Flag.String("lifetime").pipe(
    Flag.withMetavar("SPAN"),
    Flag.withDescription("When it ends: 12h, 90d; at most 3650d"),
    Flag.withDefault("365d")
  ),
  out: Flag.String("out").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Write the token to a file that only you may read, instead of printing it"),
    Flag.optional
  )
}, (given) =>
  Effect.gen(function*() {
    if (!isName(given.name)) {
      return yield* usage("the name of a service token has 1 to 64 letters, digits and . _ @ + -")
    }
    const seconds = TimeSpan.parse(given.lifetime)
    if (seconds === undefined || seconds === 0) return yield* usage("--lifetime takes a span as 12h or 90d")
    if (Option.contains(given.accounts, "")) return yield* usage("--accounts takes how accounts begin")
    const [first = "token", ...others] = new Set(given.right)
    const tokens = yield* ServiceTokens
    const token = yield* Effect.catchTag(
      tokens.create({
        name: given.name,
        rights: [first, ...others],
        accounts: Option.getOrUndefined(given.accounts),
        lifetime: Duration.seconds(seconds)
      }),
      "ServiceTokenExists",
      ({ message }) => Effect.fail(usage(message))
    )
    if (Option.isSome(given.out)) {
      const path = Path.resolve(given.out.value)
      yield* Store.writePrivate(path, `${Redacted.value(token)}\n`)
      return yield* Output.say(`The service token "${given.name}" is in ${path}, which only you may read.`)
    }
    yield* (yield* Settings.JsonFlag)
      ? Output.json({ name: given.name, token: Redacted.value(token) })
      : Output.out(Redacted.value(token))
    yield* Output.say("It is shown this once: the vault has only its digest.")
  }).pipe((effect) => within(given.store, effect))).pipe(
    Command.withDescription("Make a service token, and print it this once"),
    Command.withExamples([{
      command: "authn vault token create calendar-sync --right token --accounts team-a/ --lifetime 90d",
      description: "For a service that takes tokens of one team"
    }])
  )

const list = Command.make("list", { store: Store.storeFlag }, ({ store }) =>
  Effect.gen(function*() {
    const found = yield* Effect.flatMap(ServiceTokens, (tokens) => tokens.list)
    if (yield* Settings.JsonFlag) {
      return yield* Output.json(found.map(({ accounts, createdAt, endsAt, name, rights }) => ({
        name,
        rights: [...rights],
        accounts: accounts ?? null,
        createdAt: DateTime.formatIso(createdAt),
        endsAt: DateTime.formatIso(endsAt)
      })))
    }
    if (found.length === 0) return yield* Output.say("There is no service token. Type: authn vault token create NAME")
    const now = DateTime.toEpochMillis(yield* DateTime.now)
    yield* Output.out(...Output.table(
      found.map(({ accounts, endsAt, name, rights }) => [
        name,
        rights.join(" "),
        accounts === undefined ? "all accounts" : `accounts ${Output.plain(accounts)}…`,
        DateTime.toEpochMillis(endsAt) > now
          ? `ends ${TimeSpan.distance(DateTime.toEpochMillis(endsAt), now)}`
          : "ended"
      ]),
      yield* Output.columns
    ))
  }).pipe((effect) => within(store, effect))).pipe(Command.withDescription("Show which service tokens there are"))

const revoke = Command.make("revoke", { name, store: Store.storeFlag }, ({ name, store }) =>
  Effect.gen(function*() {
    const tokens = yield* ServiceTokens
    if (!(yield* tokens.revoke(name))) return yield* failed(`there is no service token "${name}"`)
    yield* Output.say(`Revoked. A vault that has seen it refuses it within five seconds.`)
  }).pipe((effect) => within(store, effect))).pipe(Command.withDescription("End a service token"))

export const command = Command.make("token").pipe(
  Command.withDescription("Tokens by which services call the vault"),
  Command.withSubcommands([create, list, revoke])
)
