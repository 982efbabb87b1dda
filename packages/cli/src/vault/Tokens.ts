/**
 * `authn vault token`: the service tokens of a vault, made and revoked in its store, whether or not it runs.
 */
import { Name, ServiceTokens } from "@effect-authn/core/storage/ServiceTokens"
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
import type * as Flags from "./Flags.ts"
import * as Store from "./Store.ts"

/** What a command does with the tokens of a store. */
const within = <A, E, R>(store: Option.Option<string>, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(
    Effect.flatMap(Store.find(store), (place) => Layer.build(Store.serviceTokens(place))),
    (built) => Effect.provideContext(effect, built)
  ))

const isName = Schema.is(Name)

/** Makes a token, and prints it. */
export const create = (given: Flags.Given<typeof Flags.create> & { readonly name: string }) =>
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
      // A token that nobody was told is no token.
      yield* Effect.tapError(
        Store.writePrivate(path, `${Redacted.value(token)}\n`),
        () => Effect.ignore(tokens.revoke(given.name))
      )
      return yield* Output.say(`The service token "${given.name}" is in ${path}, which only you may read.`)
    }
    yield* (yield* Settings.JsonFlag)
      ? Output.json({ name: given.name, token: Redacted.value(token) })
      : Output.out(Redacted.value(token))
    yield* Output.say("It is shown this once: the vault has only its digest.")
  }).pipe((effect) => within(given.store, effect))

/** Shows which tokens there are. */
export const list = ({ store }: { readonly store: Option.Option<string> }) =>
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
  }).pipe((effect) => within(store, effect))

/** Ends a token. */
export const revoke = ({ name, store }: { readonly name: string; readonly store: Option.Option<string> }) =>
  Effect.gen(function*() {
    const tokens = yield* ServiceTokens
    if (!(yield* tokens.revoke(name))) return yield* failed(`there is no service token "${name}"`)
    yield* Output.say("Revoked. A vault that has seen it refuses it within five seconds.")
  }).pipe((effect) => within(store, effect))
