/**
 * `authn credential`: the protocols in which other programs ask for credentials.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Session from "@effect-authn/core/session/Session"
import type * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as AccountServices from "../AccountServices.ts"
import * as CurrentToken from "../CurrentToken.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import { usage } from "../Failure.ts"
import * as Host from "../Host.ts"
import * as Input from "../Input.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as Waiting from "../Waiting.ts"
import { docker } from "./Docker.ts"
import { minTtl } from "./Token.ts"

/** RFC 3339 in whole seconds, rounded down: nobody keeps a token for longer than it lives. */
const rfc3339 = (tokens: TokenSet.TokenSet): string | undefined =>
  Option.getOrUndefined(
    Option.map(tokens.expiresAt, (at) => DateTime.formatIso(at).replace(/\.\d+Z$/, "Z"))
  )

const ExecInfo = Schema.fromJsonString(Schema.Struct({ apiVersion: Schema.String }))
const decodeExecInfo = Schema.decodeUnknownEffect(ExecInfo)
const versions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]

const kubectl = Command.make("kubectl", { minTtl, ...Waiting.flags }, ({ minTtl, ...given }) =>
  Effect.gen(function*() {
    const info = yield* Effect.orElseSucceed(Config.option(Config.NonEmptyString("KUBERNETES_EXEC_INFO")), () =>
      Option.none())
    const apiVersion = Option.isNone(info)
      ? versions[0]
      : (yield* Effect.mapError(decodeExecInfo(info.value), () =>
        usage("KUBERNETES_EXEC_INFO is not what kubectl sets"))).apiVersion
    if (apiVersion === undefined || !versions.includes(apiVersion)) {
      return yield* usage(
        `kubectl asks for ${String(apiVersion)}; authn speaks ${
          versions.join(" and ")
        }: change the apiVersion in the kubeconfig`
      )
    }
    const tokens = yield* Waiting.within(
      given,
      Effect.flatMap(Settings.make(), (settings) =>
        CurrentToken.get(settings, { minTtl }))
    )
    const expirationTimestamp = rfc3339(tokens)
    yield* Output.json({
      apiVersion,
      kind: "ExecCredential",
      status: {
        token: Redacted.value(tokens.accessToken),
        ...(expirationTimestamp === undefined ? {} : { expirationTimestamp })
      }
    })
  })).pipe(Command.withDescription("The exec credential of kubectl (client.authentication.k8s.io)"))

const processCommand = Command.make("process", {
  minTtl,
  ...Waiting.flags,
  accessKeyId: Flag.String("access-key-id").pipe(
    Flag.withMetavar("ID"),
    Flag.withDescription("The AccessKeyId to answer with; the client's id unless told"),
    Flag.optional
  )
}, (given) =>
  Effect.gen(function*() {
    const { settings, tokens } = yield* Waiting.within(
      given,
      Effect.flatMap(Settings.make(), (settings) =>
        Effect.map(CurrentToken.get(settings, { minTtl: given.minTtl }), (tokens) => ({ settings, tokens })))
    )
    const token = Redacted.value(tokens.accessToken)
    const expiration = rfc3339(tokens)
    const client = Option.match(settings.account, {
      onNone: () =>
        "authn",
      onSome: ({ client }) => client
    })
    yield* Output.json({
      Version: 1,
      AccessKeyId: Option.getOrElse(given.accessKeyId, () => client),
      SecretAccessKey: token,
      SessionToken: token,
      ...(expiration === undefined ? {} : { Expiration: expiration })
    })
  })).pipe(
    Command.withDescription("The credential_process of AWS SDKs, for services that take a token as SessionToken")
  )

/** What git asks: of a value that is given twice the last one counts, a list is taken as it comes until it is emptied. */
const parse = (lines: ReadonlyArray<string>): ReadonlyMap<string, ReadonlyArray<string>> => {
  const fields = new Map<string, Array<string>>()
  for (const line of lines) {
    const [, name, value] = /^([^=]+)=(.*)$/.exec(line) ?? []
    if (name === undefined || value === undefined) continue
    const list = name.endsWith("[]") && value !== "" ? fields.get(name) : undefined
    if (list === undefined) fields.set(name, [value])
    else list.push(value)
  }
  return fields
}

// A server may list several in one header, and quote anything in them (RFC 9110, section 11.6.1).
const wantsBearer = (challenge: string): boolean =>
  /(^|,)\s*bearer(\s|,|$)/i.test(challenge.replace(/"(?:[^"\\]|\\.)*"?/g, "\"\""))

const git = Command.make("git", {
  host: Flag.String("host").pipe(
    Flag.withMetavar("HOST"),
    Flag.withDescription(
      "A host that may have the token, with its port if it has one; may be repeated. Unless told, the IAM's own"
    ),
    Flag.atLeast(0)
  ),
  username: Flag.String("username").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("The user name that goes with the token (default oauth2)"),
    Flag.withDefault("oauth2")
  ),
  ...Waiting.flags,
  operation: Argument.String("operation").pipe(Argument.withDescription("get, store or erase, as git says it"))
}, (given) =>
  Effect.gen(function*() {
    // Git asks in words that may be new: a helper is to be silent then.
    if (given.operation !== "get" && given.operation !== "erase") return
    yield* Effect.forEach(given.host, Host.check, { discard: true })
    yield* Host.checkUser(given.username)
    const asked = parse(yield* Input.paragraph("what git asks"))
    const [protocol = ""] = asked.get("protocol") ?? []
    const host = Host.parse(protocol, asked.get("host")?.at(-1) ?? "")
    // Who signs in while this waits may do so at another IAM.
    const settingsFor = Effect.gen(function*() {
      const settings = yield* Settings.make()
      const own = URL.parse(settings.values.issuer?.value ?? "")?.host
      const allowed = given.host.length > 0 ? given.host : own === undefined ? [] : [own]
      const isAllowed = host !== undefined && allowed.some((one) => Host.parse(protocol, one) === host) &&
        SecureUrl.mayCarrySecrets(`${protocol}://${host}`)
      return isAllowed ? Option.some(settings) : Option.none()
    })

    if (given.operation === "erase") {
      const [refused] = asked.get("password") ?? asked.get("credential") ?? []
      const forget = Effect.gen(function*() {
        const settings = yield* settingsFor
        if (Option.isNone(settings) || Option.isSome(yield* EnvironmentToken.givenToken(settings.value))) return
        const auth = Context.get(yield* AccountServices.openAccount(settings.value), AuthManager)
        const session = yield* auth.session
        const tokens = Option.flatMap(session, Session.currentToken)
        // The host refused a token: the next "get" has another one, unless somebody made it already.
        if (Option.isSome(session) && Option.isSome(tokens) && Redacted.value(tokens.value.accessToken) === refused) {
          yield* auth.rejected({ tokens: tokens.value, login: Session.login(session.value) })
        }
      })
      // Git has nothing to wait for then: only a "get" does.
      return yield* Waiting.within({ timeout: given.timeout }, Effect.scoped(forget))
    }
    const current = yield* Waiting.within(
      given,
      Effect.flatMap(settingsFor, (settings) =>
        Option.isNone(settings) ? Effect.succeedNone : Effect.asSome(CurrentToken.get(settings.value)))
    )
    // Silence lets git ask its next helper, and then the person.
    if (Option.isNone(current)) {
      return
    }
    const tokens = current.value
    const token = Redacted.value(tokens.accessToken)
    const expiry = Option.match(tokens.expiresAt, {
      onNone: () => [],
      onSome: (at) => [`password_expiry_utc=${Math.floor(DateTime.toEpochMillis(at) / 1000)}`]
    })
    const isBearer = asked.get("capability[]")?.includes("authtype") === true &&
      asked.get("wwwauth[]")?.some(wantsBearer) === true
    yield* Output.out(
      ...(isBearer
        ? ["capability[]=authtype", `authtype=${tokens.tokenType}`, `credential=${token}`, "ephemeral=1"]
        : [`username=${given.username}`, `password=${token}`]),
      ...expiry
    )
  })).pipe(
    Command.withDescription("A credential helper of git"),
    Command.withExamples([
      {
        command:
          "git config --global credential.https://git.example.com.helper '!authn credential git --host git.example.com'",
        description: "Clone and push with the session's token"
      }
    ])
  )

/**
 * Feeds other programs.
 */
export const command = Command.make("credential").pipe(
  Command.withDescription("Answer kubectl, git, docker and AWS SDKs, which ask for credentials"),
  Command.withSubcommands([kubectl, git, docker, processCommand])
)
