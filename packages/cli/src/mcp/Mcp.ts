/**
 * `authn mcp`: one sign-in at a server of the Model Context Protocol, for every host on this machine.
 */
import { NotAuthenticated, ReauthenticationRequired } from "@effect-authn/core/AuthError"
import { IamError } from "@effect-authn/core/iam/IamError"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import { Holder } from "@effect-authn/core/storage/SessionLock"
import type * as McpAuth from "@effect-authn/mcp/McpAuth"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeBackgroundSleep from "@effect-authn/platform-node/NodeBackgroundSleep"
import * as NodeLogin from "@effect-authn/platform-node/NodeLogin"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Os from "node:os"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import * as CurrentToken from "../CurrentToken.ts"
import { Failure, usage } from "../Failure.ts"
import * as Input from "../Input.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

const url = Argument.String("url").pipe(
  Argument.withDescription("The address of the server, for example https://mcp.example.com/mcp")
)

// Loaded by who needs them, so that no other command starts slower for them.
const loadMcpAuth = Effect.promise(() => import("@effect-authn/mcp/McpAuth"))
const loadClientRegistration = Effect.promise(() => import("@effect-authn/mcp/ClientRegistration"))
const loadBridge = Effect.promise(() => import("./Bridge.ts"))

/** What a sign-in needs of this machine. Under a host there is nobody to ask where sessions may be kept: see docs/mcp.md. */
const services = Effect.gen(function*() {
  const { policy } = yield* Settings.make()
  const { callbackPorts } = yield* loadClientRegistration
  return Layer.mergeAll(
    NodeAuth.layerHttpClient,
    NodeAuth.layerPublicHttpClient,
    NodeLogin.layer({ ports: [...callbackPorts, 0, 0, 0, 0] }),
    AccountServices.storage(policy ?? "auto", Effect.succeed(true)),
    NodeBackgroundSleep.layer,
    Layer.sync(Holder, () => `process ${process.pid} on ${Os.hostname()}`)
  )
})

const within = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(
    Effect.flatMap(services, Layer.build),
    (built) => Effect.provideContext(effect, built)
  ))

/** Which account, as the help says it: what a directory's `AUTHN_ACCOUNT` names is no account at a server. */
export const accountDescription = "Which of several sign-ins at a server; else default"

const account = Effect.flatMap(
  Settings.AccountFlag,
  Option.match({ onNone: () => Effect.undefined, onSome: Account.checkName })
)

const isNotAuthenticated = Schema.is(NotAuthenticated)
const isIamError = Schema.is(IamError)
const isEnded = Schema.is(ReauthenticationRequired)

/** Says what to type, which is another command than that of an account; and that it is no IAM that is away. */
const failing = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | Failure, R> =>
  Effect.mapError(
    effect,
    (error) =>
      isIamError(error) && error.method === "connect" && error.reason._tag === "Unavailable"
        ? new Failure({
          exitCode: 5,
          detail:
            `the server at ${error.issuer} cannot be reached: ${error.reason.detail}; check its address, or try again later`
        })
        : isNotAuthenticated(error)
        ? new Failure({ exitCode: 3, detail: error.detail ?? error.message })
        : isEnded(error)
        ? new Failure({ exitCode: 4, detail: error.message })
        : error
  )

const login = Command.make("login", {
  url,
  clientId: Flag.String("client-id").pipe(
    Flag.withMetavar("ID"),
    Flag.withDescription("A client that is registered at the authorization server"),
    Flag.optional
  ),
  clientSecretStdin: Flag.Boolean("client-secret-stdin").pipe(
    Flag.withDescription("Read the secret of that client from the standard input"),
    Flag.withDefault(false)
  ),
  clientMetadata: Flag.String("client-metadata").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("The https address of a client id metadata document"),
    Flag.optional
  ),
  scope: Flag.String("scope").pipe(
    Flag.withMetavar("SCOPES"),
    Flag.withDescription("What to ask for, besides what the server names"),
    Flag.optional
  )
}, ({ clientId, clientMetadata, clientSecretStdin, scope, url }) =>
  Effect.gen(function*() {
    if (clientSecretStdin && Option.isNone(clientId)) {
      return yield* usage("a secret is that of a client: give its --client-id, too")
    }
    if (Option.exists(clientId, (id) => id.trim() === "")) {
      return yield* usage("--client-id takes the id of a client, and this one is empty")
    }
    if (Option.exists(clientMetadata, (address) => !/^https:\/\/[^/]+\/./.test(address))) {
      return yield* usage("--client-metadata takes an https address with a path")
    }
    const secret = clientSecretStdin ? yield* Input.secret("the client's secret") : undefined
    const options: McpAuth.Options = {
      url,
      account: yield* account,
      login: "interactive",
      clients: {
        registered: Option.getOrUndefined(Option.map(clientId, (clientId) => ({
          clientId,
          authentication: secret === undefined ? undefined : { method: "client_secret_basic" as const, secret }
        }))),
        metadataDocument: Option.getOrUndefined(clientMetadata)
      },
      scopes: Option.getOrUndefined(Option.map(scope, (scope) => scope.split(/\s+/).filter(Boolean)))
    }
    const McpAuth = yield* loadMcpAuth
    yield* failing(McpAuth.login(options))
    const status = yield* McpAuth.status(options)
    if (yield* Settings.JsonFlag) return yield* Output.json(encoded(status))
    yield* Output.say(`Signed in to ${status.url} at ${status.issuer ?? "its authorization server"}.`)
  }).pipe(within)).pipe(
    Command.withDescription("Sign in to a server, for every host on this machine")
  )

const encoded = ({ account, clientId, expiresAt, isSignedIn, issuer, scopes, url }: McpAuth.Status) => ({
  url,
  account,
  signed_in: isSignedIn,
  issuer: issuer ?? null,
  client_id: clientId ?? null,
  scopes: [...scopes],
  expires_at: Option.match(expiresAt, { onNone: () => null, onSome: DateTime.formatIso })
})

const status = Command.make("status", { url: Argument.optional(url) }, (given) =>
  Effect.gen(function*() {
    const McpAuth = yield* loadMcpAuth
    const name = yield* account
    const asked = Option.isSome(given.url)
      ? [{ url: given.url.value, account: name }]
      : (yield* McpAuth.servers).filter(({ account }) => name === undefined || account === name)
    const found = yield* Effect.forEach(asked, McpAuth.status)
    if (yield* Settings.JsonFlag) return yield* Output.json(found.map(encoded))
    if (found.length === 0) return yield* Output.say("Signed in to no server. Type: authn mcp login URL")
    yield* Output.out(...Output.table(
      found.map(({ account, clientId, isSignedIn, issuer, scopes, url }) => [
        account === "default" ? url : `${url} (${account})`,
        isSignedIn ? "signed in" : "signed out",
        issuer ?? "",
        [clientId ?? "", scopes.join(" ")].filter(Boolean).join("; ")
      ]),
      yield* Output.columns
    ))
    if (Option.isSome(given.url) && found.every(({ isSignedIn }) => !isSignedIn)) {
      return yield* new Failure({
        exitCode: 3,
        detail: `nobody is signed in to ${found[0]?.url ?? given.url.value}; type: authn mcp login ${given.url.value}${
          name === undefined ? "" : ` --account ${name}`
        }`
      })
    }
  }).pipe(within)).pipe(
    Command.withDescription("Show to which servers you are signed in")
  )

const logout = Command.make("logout", { url }, ({ url }) =>
  Effect.gen(function*() {
    const McpAuth = yield* loadMcpAuth
    const revocation = yield* failing(McpAuth.logout({ url, account: yield* account }))
    if (yield* Settings.JsonFlag) {
      return yield* Output.json({
        revoked: revocation._tag === "Revoked",
        reason: revocation._tag === "Revoked" ? null : revocation.reason
      })
    }
    yield* Output.say(
      revocation._tag === "Revoked"
        ? "Signed out."
        : `Signed out here. The authorization server was not told: ${revocation.reason}.`
    )
  }).pipe(within)).pipe(
    Command.withDescription("End the session at a server, and forget the server")
  )

const header = Command.make("header", { url }, ({ url }) =>
  Effect.gen(function*() {
    const McpAuth = yield* loadMcpAuth
    const { bearer } = yield* McpAuth.make({ url, account: yield* account, login: "never" })
    const { tokens } = yield* failing(bearer)
    yield* CurrentToken.checkUnbound(tokens, url)
    yield* Output.json({ Authorization: Redacted.value(TokenSet.authorization(tokens)) })
  }).pipe(within)).pipe(
    Command.withDescription("Print the header for a server as JSON, for hosts that ask a command for it")
  )

const stdio = Command.make("stdio", { url }, ({ url }) =>
  Effect.gen(function*() {
    const McpAuth = yield* loadMcpAuth
    const auth = yield* McpAuth.make({ url, account: yield* account })
    const Bridge = yield* loadBridge
    yield* Bridge.run(auth, url)
  }).pipe(within)).pipe(
    Command.withDescription("Relay a server to a host that starts programs, and sign in when the server asks for it"),
    Command.withExamples([{
      command: "authn mcp stdio https://mcp.example.com/mcp",
      description: "The command of a host's configuration"
    }])
  )

/**
 * One sign-in at a server, for every host.
 */
export const command = Command.make("mcp").pipe(
  Command.withDescription("Servers of the Model Context Protocol: one sign-in for every host"),
  Command.withSubcommands([login, status, logout, header, stdio])
)
