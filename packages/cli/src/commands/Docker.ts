/**
 * `docker-credential-authn`: the protocol in which docker, podman and skopeo ask for a registry's credentials
 * (docker-credential-helpers). A registry gets a token only where an account lists its very host.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import * as CurrentToken from "../CurrentToken.ts"
import { describe, failed, usage } from "../Failure.ts"
import * as Host from "../Host.ts"
import * as Input from "../Input.ts"
import * as Output from "../Output.ts"
import * as Waiting from "../Waiting.ts"

/** What docker takes for "ask the next one": to the letter, on the standard output, with exit code 1. */
const notFound = "credentials not found in native keychain"

/** The account that lists the registry, as which user. */
const find = Effect.fnUntraced(function*(registry: string) {
  const [, protocol = "https", rest = ""] = /^(?:(https?):\/\/)?(.*)$/i.exec(registry.trim()) ?? []
  const host = Host.parse(protocol.toLowerCase(), rest.split("/")[0] ?? "")
  if (host === undefined || !SecureUrl.mayCarrySecrets(`${protocol}://${host}`)) return Option.none()
  return Option.fromUndefinedOr((yield* Account.listed).find((one) => Host.isSame(one.host, host)))
})

const currentToken = Effect.fnUntraced(function*(account: Account.Account) {
  const services = yield* AccountServices.open(account, AccountServices.storage(account.place))
  const { tokens } = yield* Context.get(services, AuthManager).bearerToken
  yield* CurrentToken.checkUnbound(tokens, account.name)
  return Redacted.value(tokens.accessToken)
}, Effect.scoped)

const get = (given: Waiting.Given) =>
  Effect.gen(function*() {
    const [registry = ""] = yield* Input.paragraph("the registry's address")
    const { token, username } = yield* Waiting.within(
      given,
      Effect.gen(function*() {
        const found = yield* find(registry)
        if (Option.isNone(found)) return yield* failed(notFound)
        return { username: found.value.username, token: yield* currentToken(found.value.account) }
      })
    )
    yield* Output.json({ ServerURL: registry.trim(), Username: username, Secret: token })
  })

const decodeStored = Schema.decodeEffect(
  Schema.fromJsonString(
    Schema.Struct({
      ServerURL: Schema.String,
      Username: Schema.String,
      Secret: Schema.RedactedFromValue(Schema.String)
    })
  )
)

const store = (given: Waiting.Given) =>
  Effect.gen(function*() {
    const { Secret, ServerURL, Username } = yield* Effect.mapError(
      Effect.flatMap(Input.text("what docker stores"), decodeStored),
      () => usage("what came in is not what docker stores")
    )
    const found = yield* find(ServerURL)
    if (Option.isNone(found)) {
      return yield* failed(
        `authn keeps no passwords, and no account lists ${SecureUrl.shown(ServerURL)}: ` +
          `sign in with authn login, then: authn accounts host add HOST`
      )
    }
    const { account, host, username } = found.value
    // What `get` would answer is there already.
    if (
      Username === username &&
      Redacted.value(Secret) === (yield* Waiting.within({ timeout: given.timeout }, currentToken(account)))
    ) {
      return
    }
    return yield* failed(
      `authn keeps no passwords: for ${host} it answers with the user "${username}" and the token of account ` +
        `"${account.name}", without docker login`
    )
  })

const erase = Effect.gen(function*() {
  const [registry = ""] = yield* Input.paragraph("the registry's address")
  const found = yield* find(registry)
  if (Option.isNone(found)) return
  const { account, host } = found.value
  yield* Output.say(
    `authn: the session of "${account.name}" goes on. To keep its token from ${host}: authn accounts host remove ${host}; ` +
      `to sign out: authn logout --account ${account.name}`
  )
})

const list = Effect.flatMap(
  Account.listed,
  (listed) => Output.json(Object.fromEntries(listed.map(({ host, username }) => [host, username])))
)

const operations = { get, store, erase: () => erase, list: () => list }

/**
 * `authn credential docker`, which `docker-credential-authn` starts.
 */
export const docker = Command.make("docker", {
  operation: Argument.Literals("operation", ["get", "store", "erase", "list"]).pipe(
    Argument.withDescription("As docker says it")
  ),
  ...Waiting.flags
}, ({ operation, ...given }) =>
  // Docker shows what a helper says on its standard output. A terminal has all of it on the standard error.
  Effect.tapCause(
    operations[operation](given),
    Effect.fnUntraced(function*(cause) {
      const stdio = yield* Stdio.Stdio
      const { signInTo, text } = describe(cause)
      const hint = signInTo === undefined ? [] : [`Sign in with: authn login --account ${signInTo}`]
      if (text !== undefined && !(yield* stdio.stdoutIsTerminal)) yield* Effect.ignore(Output.out(text, ...hint))
    })
  )).pipe(Command.withDescription("A credential helper of docker, podman and skopeo (docker-credential-authn)"))
