/**
 * The flags of `authn login`.
 */
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Account from "../Account.ts"
import * as VaultFlags from "../vault/Flags.ts"
import * as Waiting from "../Waiting.ts"

const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const toggle = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

const inQuery = (pairs: ReadonlyArray<string>): string =>
  new URLSearchParams(pairs.filter(Boolean).map((pair) => pair.split(/=(.*)/s).slice(0, 2))).toString()

export const flags = {
  dialect: text("dialect", "DIALECT", `How the IAM speaks: ${Account.Dialect.literals.join(", ")}`),
  issuer: text("issuer", "URL", "The IAM's address"),
  handle: text("handle", "NAME", "Sign in with a name and a password, which is asked for"),
  passwordStdin: toggle("password-stdin", "Read the password from the standard input"),
  tokenStdin: toggle("token-stdin", "Keep a token or an API key that is read from the standard input"),
  browser: toggle("browser", "Sign in at the IAM's page in a browser"),
  provider: text("provider", "NAME", "Which of the IAM's own providers the page is of (with --browser)"),
  device: toggle("device", "Sign in with a code on another device"),
  client_id: text("client-id", "ID", "The OAuth client"),
  clientSecretStdin: toggle("client-secret-stdin", "Read the client's secret from the standard input"),
  scope: text("scope", "SCOPES", "The OAuth scopes, separated by spaces"),
  audience: text("audience", "URI", "Which API the tokens are for, where the provider calls it audience (Auth0)"),
  resource: text("resource", "URI", "Which API the tokens are for (RFC 8707)"),
  prompt: text(
    "prompt",
    "WORD",
    "How insistent the provider's page is: login, consent, select_account; empty: not at all"
  ),
  parameter: Flag.String("parameter").pipe(
    Flag.withMetavar("NAME=VALUE"),
    Flag.withDescription("What else the provider is asked with; may be repeated"),
    Flag.atLeast(0),
    Flag.mapEffect((given) => {
      const wrong = given.find((pair) => given.length > 1 || pair !== "" ? !/^[^=]+=/.test(pair) : false)
      return wrong === undefined
        ? Effect.succeed(given.length === 0 ? Option.none() : Option.some(inQuery(given)))
        : Effect.fail(
          new CliError.InvalidValue({ option: "parameter", value: wrong, expected: "name=value", kind: "flag" })
        )
    })
  ),
  client_auth: text(
    "client-auth",
    "METHOD",
    `How the client shows its secret: ${Account.ClientAuth.literals.join(", ")}`
  ),
  dpop: Flag.Boolean("dpop").pipe(
    Flag.withDescription("Bind the session to a key, without which its tokens are worth nothing (RFC 9449)"),
    Flag.optional,
    Flag.map(Option.map(String))
  ),
  workload_audience: text(
    "workload-audience",
    "URI",
    "Under which name the IAM takes the token of the platform that runs this program"
  ),
  metadata: text("metadata", "FILE", "The endpoints of a provider that publishes none, as JSON (RFC 8414)"),
  organization: text("organization", "ID", "The organization to sign in to"),
  project: text("project", "ID", "The project to sign in to"),
  callback_port: Flag.String("callback-port").pipe(
    Flag.withMetavar("PORT"),
    Flag.withDescription(
      "A port that the browser may come back to; may be repeated, and the first that is free is taken"
    ),
    Flag.atLeast(0),
    Flag.map((ports) => ports.length === 0 ? Option.none() : Option.some(ports.join(" ")))
  ),
  callback_host: text(
    "callback-host",
    "NAME",
    `What the browser comes back to: ${Account.CallbackHost.literals.join(", ")}`
  ),
  callback_path: text("callback-path", "PATH", "The path that the browser comes back to; /callback unless told"),
  storage: text(
    "storage",
    "PLACE",
    "Where the session is kept: auto, keyring, encrypted-file, sqlite, plain-file, memory"
  ),
  store: Flag.Boolean("store").pipe(
    Flag.withDescription("Keep the session; --no-store only tries the credentials"),
    Flag.withDefault(true)
  ),
  timeout: Waiting.timeout,
  revokePrevious: toggle("revoke-previous", "Tell the IAM to end the session that this login replaces"),
  ...VaultFlags.remote
}
