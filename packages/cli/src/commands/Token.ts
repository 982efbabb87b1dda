/**
 * `authn token`, `authn refresh` and `authn whoami`.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import * as Session from "@effect-authn/core/session/Session"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type * as User from "@effect-authn/core/session/User"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as AccountServices from "../AccountServices.ts"
import * as CurrentToken from "../CurrentToken.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import { failed, usage } from "../Failure.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as TimeSpan from "../TimeSpan.ts"
import * as VaultFlags from "../vault/Flags.ts"
import * as Waiting from "../Waiting.ts"

// Loaded by who needs it, so that no other command starts slower for it.
const loadRemote = Effect.promise(() => import("../vault/Remote.ts"))

const optional = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar("ID"), Flag.withDescription(description), Flag.optional)

/**
 * `--min-ttl`, in milliseconds.
 */
export const minTtl = Flag.String("min-ttl").pipe(
  Flag.withMetavar("SPAN"),
  Flag.withDescription("How long the token must still be valid: 90, 90s, 15m, 2h"),
  Flag.withDefault("0"),
  Flag.mapEffect((text) => {
    const seconds = TimeSpan.parse(text)
    return seconds === undefined
      ? Effect.fail(
        new CliError.InvalidValue({ option: "min-ttl", value: text, expected: "90, 90s, 15m or 2h", kind: "flag" })
      )
      : Effect.succeed(seconds * 1000)
  })
)

const selectionOf = (
  given: { readonly project: Option.Option<string>; readonly resource?: Option.Option<string> }
) => ({
  ...(Option.isSome(given.project) ? { project: given.project.value } : {}),
  ...(given.resource !== undefined && Option.isSome(given.resource) ? { resource: given.resource.value } : {})
})

const expiry = (tokens: TokenSet.TokenSet) => Option.getOrNull(Option.map(tokens.expiresAt, DateTime.formatIso))

/**
 * Prints a token that is valid now.
 */
export const token = Command.make("token", {
  header: Flag.Boolean("header").pipe(
    Flag.withDescription("Print the whole Authorization header"),
    Flag.withDefault(false)
  ),
  minTtl,
  project: optional("project", "A token for this project; the session stays with its own"),
  resource: optional("resource", "A token for this resource (RFC 8707)"),
  ...Waiting.flags,
  ...VaultFlags.remote
}, (given) =>
  Effect.gen(function*() {
    const asked = { minTtl: given.minTtl, selection: selectionOf(given) }
    const tokens = yield* Waiting.within(
      given,
      Effect.flatMap(Settings.make(), (settings) =>
        Option.isNone(given.vault)
          ? CurrentToken.get(settings, asked)
          : Effect.flatMap(
            loadRemote,
            (Remote) => Effect.flatMap(Remote.open(given, settings), (remote) => Remote.take(remote, asked))
          ))
    )
    if (yield* Settings.JsonFlag) {
      return yield* Output.json({
        token: Redacted.value(tokens.accessToken),
        tokenType: tokens.tokenType,
        expiresAt: expiry(tokens)
      })
    }
    yield* Output.out(
      given.header
        ? `Authorization: ${Redacted.value(TokenSet.authorization(tokens))}`
        : Redacted.value(tokens.accessToken)
    )
  }).pipe(Effect.scoped)).pipe(
    Command.withDescription("Print a token that is valid now"),
    Command.withExamples([
      { command: "curl -H \"$(authn token --header)\" https://api.example.com/me", description: "Call an API" }
    ])
  )

/**
 * Renews now.
 */
export const refresh = Command.make("refresh", {
  project: optional("project", "Move the session to this project"),
  organization: optional("organization", "Move the session to this organization"),
  timeout: Waiting.timeout
}, (given) =>
  Effect.gen(function*() {
    const settings = yield* Settings.make()
    const environment = yield* EnvironmentToken.givenToken(settings)
    if (Option.isSome(environment)) {
      return yield* usage(
        `the token in ${environment.value.variable} is used, and it is never renewed: unset it, or give --account`
      )
    }
    const auth = Context.get(yield* AccountServices.openAccount(settings), AuthManager)
    const selection = {
      ...selectionOf(given),
      ...(Option.isSome(given.organization) ? { organization: given.organization.value } : {})
    }
    const session = yield* Waiting.within(
      given,
      Object.keys(selection).length === 0 ? auth.refresh() : auth.refresh(selection)
    )
    const tokens = Session.currentToken(session)
    if (Option.isNone(tokens)) return yield* failed("the IAM renewed, but gave no token for the current selection")
    const state = yield* Stream.runHead(auth.changes)
    if (Option.isSome(state) && state.value._tag === "SignedIn" && state.value.unsaved !== undefined) {
      return yield* failed(
        `renewed, but the new tokens could not be stored, and end with this command: ${state.value.unsaved.cause}\n` +
          "Make room, then sign in again where `authn token` fails"
      )
    }
    if (yield* Settings.JsonFlag) {
      return yield* Output.json({
        account: settings.name,
        expiresAt: expiry(tokens.value),
        selection: Object.fromEntries(Object.entries(session.current))
      })
    }
    const left = CurrentToken.millisLeft(tokens.value, yield* DateTime.now)
    const { green } = yield* Output.paint("stderr")
    yield* Output.say(
      `${green("✓")} Renewed; the new token is valid ${
        Number.isFinite(left) ? `for ${TimeSpan.format(left)}` : "until it is revoked"
      }.`
    )
  }).pipe(Effect.scoped)).pipe(Command.withDescription("Renew the session now, or move it to another project"))

/**
 * Members of a user that people want to see.
 */
export const membersOf = (user: User.User): ReadonlyArray<readonly [string, string]> => {
  const { avatarUrl: _avatar, profile: _profile, roles, ...members } = user
  const { displayName, email, firstName, handle, id, lastName } = members
  const optional = { handle, name: displayName, firstName, lastName, email }
  return [
    ["id", id],
    ...Object.entries(optional).flatMap(([name, value]): ReadonlyArray<readonly [string, string]> =>
      Option.isSome(value) ? [[name, value.value]] : []
    ),
    ...(roles.length === 0 ? [] : [["roles", roles.join(", ")] as const])
  ]
}

/**
 * Tells who is signed in.
 */
export const whoami = Command.make("whoami", {
  offline: Flag.Boolean("offline").pipe(
    Flag.withDescription("Do not ask the IAM: tell what the session knows"),
    Flag.withDefault(false)
  ),
  timeout: Waiting.timeout
}, ({ offline, timeout }) =>
  Effect.gen(function*() {
    const settings = yield* Settings.make()
    const given = yield* EnvironmentToken.givenToken(settings)
    const services = yield* AccountServices.openAccount(settings)
    const auth = Context.get(services, AuthManager)
    const user = yield* Waiting.within(
      { timeout },
      Effect.gen(function*() {
        if (Option.isSome(given)) {
          if (offline) return yield* usage(`nothing is known of the token in ${given.value.variable} without asking`)
          return (yield* auth.login(AccountServices.given(yield* given.value.token), { store: false })).user
        }
        if (!offline) return Option.some(yield* auth.refreshUser)
        const session = yield* auth.session
        // Asking for the token says in what way nobody is signed in.
        if (Option.isNone(session)) yield* auth.token
        return Option.flatMap(session, ({ user }) => user)
      })
    )
    const from = Option.isSome(given) ? given.value.variable : `account "${settings.name}"`
    if (Option.isNone(user)) return yield* failed(`${auth.key.issuer} does not tell who this is (${from})`)
    const members = membersOf(user.value)
    if (yield* Settings.JsonFlag) {
      return yield* Output.json({
        ...Object.fromEntries(members),
        roles: user.value.roles,
        issuer: auth.key.issuer,
        account: settings.name
      })
    }
    yield* Output.out(
      ...Output.table(
        [...members, ["issuer", auth.key.issuer], ["source", from]].map(([name = "", value = ""]) => [
          name,
          Output.plain(value)
        ]),
        yield* Output.columns
      )
    )
  }).pipe(Effect.scoped)).pipe(Command.withDescription("Tell who is signed in"))
