/**
 * `authn login`.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import { BrowserLogin } from "@effect-authn/core/iam/BrowserLogin"
import { DeviceLogin } from "@effect-authn/core/iam/DeviceLogin"
import { IamError } from "@effect-authn/core/iam/IamError"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import * as InteractiveStrategy from "@effect-authn/core/login/InteractiveStrategy"
import * as LoginPrompt from "@effect-authn/core/login/LoginPrompt"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Session from "@effect-authn/core/session/Session"
import * as User from "@effect-authn/core/session/User"
import { StoragePolicy } from "@effect-authn/core/storage/StoragePolicy"
import * as NodeLogin from "@effect-authn/platform-node/NodeLogin"
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Prompt from "effect/cli/Prompt"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import { millisLeft } from "../CurrentToken.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import * as Failure from "../Failure.ts"
import * as Input from "../Input.ts"
import * as LoginMetadata from "../LoginMetadata.ts"
import * as LoginRecord from "../LoginRecord.ts"
import * as Output from "../Output.ts"
import * as Question from "../Question.ts"
import * as Settings from "../Settings.ts"
import * as TimeSpan from "../TimeSpan.ts"
import * as VaultFlags from "../vault/Flags.ts"
import * as Waiting from "../Waiting.ts"

const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const toggle = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

const inQuery = (pairs: ReadonlyArray<string>): string =>
  new URLSearchParams(pairs.filter(Boolean).map((pair) => pair.split(/=(.*)/s).slice(0, 2))).toString()

const flags = {
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

// Loaded by who needs it, so that no other command starts slower for it.
const loadRemote = Effect.promise(() => import("../vault/Remote.ts"))

type Way = "password" | "token" | "browser" | "device" | "client credentials"

const allWays: ReadonlyArray<Way> = ["password", "token", "browser", "device", "client credentials"]

const ways: { readonly [D in Account.Dialect]: ReadonlyArray<Way> } = {
  datalayer: ["password", "browser", "token"],
  genomcore: ["password", "token"],
  oidc: ["browser", "device", "client credentials", "token"]
}

/** The ways that the flags name. */
const named = (given: {
  readonly handle: Option.Option<string>
  readonly passwordStdin: boolean
  readonly tokenStdin: boolean
  readonly browser: boolean
  readonly device: boolean
  readonly clientSecretStdin: boolean
}): ReadonlyArray<Way> => {
  const found: Array<Way> = []
  if (Option.isSome(given.handle) || given.passwordStdin) found.push("password")
  if (given.tokenStdin) found.push("token")
  if (given.browser) found.push("browser")
  if (given.device) found.push("device")
  if (found.length === 0 && given.clientSecretStdin) found.push("client credentials")
  return found
}

const explanation: { readonly [W in Way]: string } = {
  "password": "name and password",
  "token": "a token or API key that I paste",
  "browser": "my browser",
  "device": "a code on another device",
  "client credentials": "the client's own secret"
}

const option: { readonly [W in Way]: string } = {
  "password": "--handle NAME (with --password-stdin where there is no terminal)",
  "token": "--token-stdin",
  "browser": "--browser",
  "device": "--device",
  "client credentials": "--client-secret-stdin"
}

/** Asks a person for what is missing, and tells everybody else what it is. */
const missing = Effect.fnUntraced(function*<A, E, R>(what: string, prompt: Effect.Effect<A, E, R>) {
  if (yield* Input.hasPerson) return yield* prompt
  return yield* Failure.usage(`${what}\nSee: authn login --help`)
})

const lack = {
  dialect: `no dialect: give --dialect ${Account.Dialect.literals.join("|")}`,
  issuer: "no issuer: give --issuer URL",
  client: "no client: give --client-id ID",
  handle: "no name: give --handle NAME",
  password: "no password: there is no terminal to ask at, so give --password-stdin",
  organization: "no organization: give --organization ID",
  way: (known: ReadonlyArray<Way>) => `no way to sign in: give ${known.map((way) => option[way]).join(", or ")}`
}

/** Everything that is missing where there is nobody to ask. */
const lacking = (
  { dialect, values }: Settings.Settings,
  given: { readonly handle: Option.Option<string>; readonly passwordStdin: boolean },
  metadata: LoginMetadata.LoginMetadata | undefined,
  found: ReadonlyArray<Way>,
  hasSecret: boolean
): ReadonlyArray<string> => {
  const spoken = dialect ?? (metadata === undefined ? undefined : "oidc")
  const isByPassword = found[0] === "password"
  return [
    ...(spoken === undefined ? [lack.dialect] : []),
    ...(values.issuer === undefined && metadata === undefined ? [lack.issuer] : []),
    ...(spoken === "oidc" && values.client_id === undefined ? [lack.client] : []),
    ...(found.length === 0 && !hasSecret ? [lack.way(spoken === undefined ? allWays : ways[spoken])] : []),
    ...(isByPassword && Option.isNone(given.handle) ? [lack.handle] : []),
    ...(isByPassword && !given.passwordStdin ? [lack.password] : []),
    ...(isByPassword && spoken === "genomcore" && values.organization === undefined ? [lack.organization] : [])
  ]
}

const dialects: ReadonlyArray<
  { readonly title: string; readonly value: Account.Dialect; readonly description: string }
> = [
  { title: "datalayer", value: "datalayer", description: "a Datalayer-style REST API" },
  { title: "genomcore", value: "genomcore", description: "a Genomcore-style REST API" },
  { title: "oidc", value: "oidc", description: "OAuth 2 and OpenID Connect" }
]

const completed = Effect.fnUntraced(function*(
  settings: Settings.Settings,
  metadata: LoginMetadata.LoginMetadata | undefined,
  before: Account.Account | undefined
) {
  const dialect = settings.dialect ?? (metadata === undefined
    ? yield* missing(
      lack.dialect,
      Question.choice(
        "How does the IAM speak?",
        likeLastTime(dialects, before?.dialect)
      )
    )
    : "oidc")
  const issuer = settings.values.issuer?.value ?? metadata?.issuer ??
    (yield* missing(
      lack.issuer,
      Question.line(
        "Address of the IAM",
        (answer) =>
          SecureUrl.mayCarrySecrets(answer)
            ? undefined
            : "write it as https://iam.example.com (http only where the IAM is on this machine)",
        before?.dialect === dialect ? before.issuer : undefined
      )
    ))
  const client = settings.values.client_id?.value ?? (dialect === "oidc"
    ? yield* missing(
      lack.client,
      Question.line("Client id", undefined, before?.issuer === issuer ? before.client : undefined)
    )
    : undefined)
  const target = AccountServices.targetOf(settings, dialect, issuer)
  if (metadata === undefined) return { ...target, client }
  const { endpoints } = yield* LoginMetadata.check(metadata, issuer)
  return { ...target, client, provider: { ...target.provider, metadata: endpoints } }
})

/** The choices, with that of the last login in front. */
const likeLastTime = <A, Choice extends { readonly value: A; readonly title: string }>(
  choices: ReadonlyArray<Choice>,
  last: A | undefined
): ReadonlyArray<Choice> => choices.toSorted((one, other) => Number(other.value === last) - Number(one.value === last))

/** A way, and the token where that is chosen with it. */
interface Chosen {
  readonly way: Way
  readonly token?: Redacted.Redacted
}

/** What other clients of the IAM keep on this machine. It is read to be offered, and sent only when it is chosen. */
const foreignSessions = Effect.fnUntraced(function*(issuer: string) {
  const { find } = yield* Effect.promise(() => import("@effect-authn/iam-datalayer/DatalayerForeignSessions"))
  const Keychain = yield* Effect.promise(() => import("@effect-authn/storage-keyring/Keychain"))
  const keychain = Context.get(yield* Layer.build(Keychain.layer()), Keychain.Keychain)
  const short = yield* Output.short
  return (yield* find({ issuer, keychain: keychain.get })).map(({ isOfIssuer, place, token }) => ({
    title: `the session of another client, in ${short(place)}${isOfIssuer ? "" : " (perhaps of another IAM)"}`,
    value: { way: "token" as const, token }
  }))
}, Effect.scoped)

const wayOf = Effect.fnUntraced(function*(
  { dialect, issuer }: AccountServices.Target,
  found: ReadonlyArray<Way>,
  hasSecret: boolean,
  last: string | undefined
): Effect.fn.Return<
  Chosen,
  Failure.Failure | IamError | Terminal.QuitError,
  FileSystem.FileSystem | Prompt.Environment | Stdio.Stdio
> {
  const known = ways[dialect]
  const [way] = found
  if (way !== undefined) {
    if (known.includes(way)) return { way }
    return yield* Failure.usage(
      `a ${dialect} IAM has no login by ${way}: give ${known.map((way) => option[way]).join(", or ")}`
    )
  }
  if (hasSecret) return { way: "client credentials" }
  return yield* missing(
    lack.way(known),
    Effect.flatMap(
      dialect === "datalayer" ? foreignSessions(issuer) : Effect.succeed([]),
      (others) =>
        Question.choice<Chosen>("Sign in with", [
          ...likeLastTime(known.map((way) => ({ title: explanation[way], value: way })), last)
            .map(({ title, value }) => ({ title, value: { way: value } })),
          ...others
        ])
    )
  )
})

/** What a login with a person needs of this machine; what is said to the person is said as everything else. */
const desk = Effect.fnUntraced(function*(callback: Account.Callback) {
  const stdio = yield* Effect.context<Stdio.Stdio>()
  const built = yield* Layer.build(NodeLogin.layer(callback))
  const { ask, obstacle } = Context.get(built, LoginPrompt.LoginPrompt)
  return Context.add(built, LoginPrompt.LoginPrompt, {
    ask,
    obstacle,
    show: (notice) => Effect.provideContext(Output.say(LoginPrompt.text(notice)), stdio)
  })
})

/** Where a pasted address ends: nothing listens there, but the IAM has to know it. */
const pastedAt = (
  { host = "127.0.0.1", path = "/callback", ports: [port = 49_321] = [] }: Account.Callback
): string => `http://${host}:${port}${path}`

const strategyOf = Effect.fnUntraced(function*(
  { token, way }: Chosen,
  services: AccountServices.Services,
  callback: Account.Callback,
  handle: string | undefined,
  given: {
    readonly passwordStdin: boolean
    readonly tokenStdin: boolean
    readonly provider: Option.Option<string>
    readonly timeout: Option.Option<number>
  }
) {
  switch (way) {
    case "password": {
      const password = given.passwordStdin
        ? yield* Input.secret("the password")
        : yield* missing(lack.password, Question.secret(`Password of ${Output.plain(handle ?? "")}`))
      return AuthStrategy.password({ handle: handle ?? "", password })
    }
    case "token":
      return AuthStrategy.token(
        token ?? (given.tokenStdin ? yield* Input.token : yield* Question.secret("Token"))
      )
    case "browser": {
      const login = Context.getOption(services, BrowserLogin)
      if (Option.isNone(login)) return yield* Failure.usage("this IAM has no browser login")
      const context = Context.merge(
        yield* desk(callback),
        Context.make(BrowserLogin, login.value)
      ).pipe(
        // Where no browser can open, a device code may do.
        Context.merge(services)
      )
      return AuthStrategy.provide(
        InteractiveStrategy.interactive({
          provider: Option.getOrUndefined(given.provider),
          redirectUri: pastedAt(callback),
          // The end of the whole login is this command's.
          ...(Option.isNone(given.timeout) ? {} : { timeLimit: Duration.millis(given.timeout.value + 60_000) })
        }),
        context
      )
    }
    case "device": {
      const login = Context.getOption(services, DeviceLogin)
      if (Option.isNone(login)) return yield* Failure.usage("this IAM has no login with a code")
      return AuthStrategy.provide(
        InteractiveStrategy.device(),
        Context.merge(yield* desk(callback), Context.make(DeviceLogin, login.value))
      )
    }
    case "client credentials": {
      const { OidcIam } = yield* Effect.promise(() => import("@effect-authn/iam-oidc/OidcIam"))
      const { clientCredentials } = yield* Effect.promise(() => import("@effect-authn/iam-oidc/OidcStrategy"))
      const oidc = Context.getOption(services, OidcIam)
      if (Option.isNone(oidc)) return yield* Failure.usage("only an OpenID provider has client credentials")
      return AuthStrategy.provide(clientCredentials(), Context.make(OidcIam, oidc.value))
    }
  }
})

// How often a person may type what is refused.
const triesOfPerson = 3

/** Refuses flags that say nothing to this IAM, instead of leaving them out in silence. */
const checkFlags = Effect.fnUntraced(function*(
  { dialect, provider }: AccountServices.Target,
  given: {
    readonly clientSecretStdin: boolean
    readonly provider: Option.Option<string>
  } & { readonly [F in typeof ofOidc[number]]: Option.Option<string> }
) {
  const foreign = ofOidc.find((name) => Option.isSome(given[name]))
  if (dialect !== "oidc") {
    const flag = given.clientSecretStdin ? "client-secret-stdin" : foreign?.replaceAll("_", "-")
    return flag === undefined
      ? undefined
      : yield* Failure.usage(`--${flag} is for OpenID providers, and this is a ${dialect} IAM`)
  }
  if (Option.isSome(given.provider)) {
    return yield* Failure.usage(
      "--provider is for other IAMs: an OpenID provider is told with a parameter of its own, such as --parameter " +
        `kc_idp_hint=${Output.plain(given.provider.value)}`
    )
  }
  if (given.clientSecretStdin && provider?.clientAuth === "none") {
    return yield* Failure.usage("--client-auth none is for a client without a secret: leave --client-secret-stdin out")
  }
})

const ofOidc = ["client_id", "scope", "audience", "resource", "prompt", "parameter", "client_auth", "metadata"] as const

const isIamError = Schema.is(IamError)

const allowPlainFiles = Effect.gen(function*() {
  if (!(yield* Input.hasPerson)) return false
  return yield* Question.leave(
    "There is no keychain here and no key to encrypt with. Keep the session in a plain file that only you can read?"
  )
}).pipe(Effect.orElseSucceed(() => false))

/**
 * Signs in and stays signed in.
 */
export const command = Command.make("login", flags, (given) =>
  Effect.gen(function*() {
    const asJson = yield* Settings.JsonFlag
    const pipes = [given.passwordStdin, given.tokenStdin, given.clientSecretStdin, given.vaultTokenStdin].filter(
      Boolean
    )
    if (pipes.length > 1) return yield* Failure.usage("only one secret can come from the standard input")
    if (Option.exists(given.handle, (handle) => handle.trim() === "")) {
      return yield* Failure.usage("--handle is empty: is a variable empty there?")
    }
    const settings = yield* Settings.make(given)
    const metadata = Option.isSome(given.metadata) ? yield* LoginMetadata.read(given.metadata.value) : undefined
    if (!given.store && Option.isSome(given.vault)) {
      return yield* Failure.usage(
        "--vault keeps the session in the vault, and --no-store keeps it nowhere: give one of them"
      )
    }
    const remote = Option.isNone(given.vault) ? undefined : yield* Effect.flatMap(
      loadRemote,
      (Remote) => Remote.open(given, settings)
    )
    // What a vault keeps is kept nowhere else.
    const isStored = given.store && remote === undefined
    const policy = isStored ? settings.policy ?? "auto" : "memory"
    const isKept = Option.exists(settings.account, ({ place, unattended }) => unattended === true && place === policy)
    const isTold = Option.isSome(yield* AccountServices.toldSecret)
    const hasPerson = yield* Input.hasPerson
    // A person can say which way is meant; where there is none, the secret is it.
    const hasSecret = settings.dialect === "oidc" && (isKept || (isTold && !hasPerson))
    const found = named(given)
    if (found.length > 1) {
      return yield* Failure.usage(`one way to sign in at a time: ${found.map((way) => option[way]).join(", or ")}`)
    }
    const lacks = hasPerson ? [] : lacking(settings, given, metadata, found, hasSecret)
    if (lacks.length > 0) return yield* Failure.usage([...lacks, "See: authn login --help"].join("\n"))
    // What was used last is suggested, in another account, too.
    const before = Option.getOrUndefined(
      Option.isSome(settings.account)
        ? settings.account
        : Option.flatten(yield* Effect.option(Effect.flatMap(Settings.current, Account.get)))
    )
    const target = yield* completed(settings, metadata, before)
    yield* checkFlags(target, given)
    const answers = before?.issuer === target.issuer ? before.answers : undefined
    const chosen = yield* wayOf(target, found, hasSecret, answers?.way)
    const { way } = chosen
    if (way !== "browser" && Option.isSome(given.provider)) {
      return yield* Failure.usage("--provider is of the page in a browser: give --browser, too")
    }

    const context = yield* Effect.context<Prompt.Environment | Stdio.Stdio>()
    const place = yield* Layer.build(
      AccountServices.storage(policy, Effect.provideContext(allowPlainFiles, context))
    )
    // It is better to know before the password is typed.
    const choice = yield* Effect.mapError(
      Context.get(place, StoragePolicy).choice,
      ({ reason }) =>
        Failure.failed(
          `${reason.message}\nSay where: --storage plain-file (a file that only you can read), ` +
            `or set AUTHN_PASSPHRASE to encrypt it, or AUTHN_STORAGE for good`
        )
    )
    const kept = target.dialect === "oidc"
      ? yield* Effect.provideContext(AccountServices.clientSecret(target), place)
      : Option.none()
    const piped = given.clientSecretStdin ? yield* Input.secret("the client's secret") : undefined
    const needsSecret = way === "client credentials" ||
      target.provider?.clientAuth?.startsWith("client_secret") === true
    const isSecretAsked = target.dialect === "oidc" && needsSecret && piped === undefined && Option.isNone(kept)

    // What was typed is what a person may get wrong, and is asked for again.
    let typedHandle = Option.getOrElse(given.handle, () => answers?.handle)
    let organization = settings.values.organization?.value ?? answers?.organization
    const signIn = Effect.gen(function*() {
      const secret = isSecretAsked
        ? yield* missing(
          "no client's secret: give --client-secret-stdin, or set AUTHN_CLIENT_SECRET",
          Question.secret("Client secret")
        )
        : piped
      const services = yield* AccountServices.open(
        target,
        Layer.succeedContext(place),
        secret ?? Option.getOrUndefined(kept)
      )
      const auth = Context.get(services, AuthManager)
      if (way === "password" && Option.isNone(given.handle)) {
        typedHandle = yield* missing(lack.handle, Question.line("Name", undefined, typedHandle))
      }
      const strategy = yield* strategyOf(chosen, services, settings.callback, typedHandle, given)
      if (target.dialect === "genomcore" && way === "password" && settings.values.organization === undefined) {
        organization = yield* missing(lack.organization, Question.line("Organization", undefined, organization))
      }
      const session = yield* Waiting.within(
        given,
        auth.login(strategy, {
          store: isStored,
          revokePrevious: given.revokePrevious,
          selection: {
            ...(organization === undefined || target.dialect === "oidc" ? {} : { organization }),
            ...(settings.values.project === undefined ? {} : { project: settings.values.project.value })
          }
        })
      )
      return { auth, secret, services, session }
    })
    const isAsked = isSecretAsked || (way === "password" && !given.passwordStdin) ||
      (way === "token" && !given.tokenStdin && chosen.token === undefined)
    const isRefused = (error: unknown) =>
      isAsked && (Predicate.isTagged(error, "InvalidCredentials") ||
        (isSecretAsked && isIamError(error) && error.reason._tag === "Misconfigured"))
    let tries = 0
    const { auth, secret, services, session } = yield* signIn.pipe(
      Effect.tapError((error) =>
        isRefused(error) && ++tries < triesOfPerson
          ? Output.say(Failure.describe(Cause.fail(error)).text ?? "")
          : Effect.void
      ),
      Effect.retry({ times: triesOfPerson - 1, while: isRefused }),
      Effect.catchIf(
        (error) => isIamError(error) && error.method === "discover" && error.reason._tag === "Misconfigured",
        ({ message }) =>
          Failure.failed(`${message}\nThe endpoints of a provider that publishes none: authn login --metadata FILE`)
      ),
      Effect.catchTag("NoCredentials", ({ tried }) => {
        const others = ways[target.dialect].filter((way) => way !== "browser" && way !== "device")
        return Effect.fail(Failure.usage([
          "none of this can sign you in here:",
          ...tried.map(({ reason, strategy }) => `  ${strategy}: ${reason}`),
          `Give ${others.map((way) => option[way]).join(", or ")}`
        ].join("\n")))
      })
    )
    if (remote !== undefined) {
      const { put } = yield* loadRemote
      // A session that nobody keeps is ended.
      yield* Effect.tapError(put(remote, auth.key, session), () => Effect.ignore(auth.logout))
    }
    if (isStored && secret !== undefined) yield* AccountServices.keepClientSecret(services, secret)
    if (isStored) {
      yield* LoginRecord.login(target, services, {
        unattended: way === "client credentials" && (isKept || secret !== undefined),
        revokePrevious: given.revokePrevious,
        answers: {
          way,
          ...(way !== "password" || typedHandle === undefined ? {} : { handle: typedHandle }),
          ...(organization === undefined || target.dialect === "oidc" ? {} : { organization })
        }
      })
    }
    const shadow = yield* EnvironmentToken.givenToken({ dialect: target.dialect, isTold: false })
    const environment = Option.getOrNull(Option.map(shadow, ({ variable }) => variable))

    const user = Option.match(session.user, { onNone: () => auth.key.clientId, onSome: User.label })
    // A client is who signed in only where it signed itself in.
    const isNamed = Option.isSome(session.user) || way === "client credentials"
    const tokens = Session.currentToken(session)
    const now = yield* DateTime.now
    const left = Option.match(tokens, { onNone: () => 0, onSome: (tokens) => millisLeft(tokens, now) })
    if (asJson) {
      return yield* Output.json({
        account: target.name,
        dialect: target.dialect,
        issuer: auth.key.issuer,
        client: auth.key.clientId,
        user,
        stored: isStored ? choice.place : null,
        ...(remote === undefined ? {} : { vault: { url: remote.url, account: remote.account } }),
        environment,
        expiresAt: Option.getOrNull(
          Option.map(Option.flatMap(tokens, ({ expiresAt }) => expiresAt), DateTime.formatIso)
        )
      })
    }
    const { bold, green } = yield* Output.paint("stderr")
    const short = yield* Output.short
    const account = yield* Settings.flagFor(target.name)
    yield* Output.say(
      `${green("✓")} Signed in${
        isNamed ? ` as ${bold(Output.plain(user))}` : ""
      } at ${auth.key.issuer} (account "${target.name}")`,
      isStored
        ? `  The session is kept in ${short(choice.description)}.`
        : remote === undefined
        ? "  Nothing was stored."
        : `  The session is kept in the vault at ${remote.url}, as "${remote.account}".`,
      `  The token is valid ${Number.isFinite(left) ? `for ${TimeSpan.format(left)}` : "until it is revoked"}${
        (isStored || remote !== undefined) && session.grant._tag !== "None" ? ", and renewed when it is due" : ""
      }.`,
      ...(remote !== undefined
        ? [`  Next: authn token --vault ${remote.url}`]
        : !isStored
        ? []
        : environment === null
        ? [`  Next: authn token${account}, authn exec${account} -- CMD, authn status`]
        : [`  ${environment} is set: its token goes before this session, unless --account ${target.name} is given.`])
    )
  }).pipe(Effect.scoped)).pipe(
    Command.withDescription("Sign in, and stay signed in"),
    Command.withExamples([
      {
        command: "authn login --dialect datalayer --issuer https://iam.example.com --handle ada",
        description: "Asks for the password"
      },
      {
        command: "authn login --dialect oidc --issuer https://id.example.com --client-id cli --browser",
        description: "Opens the browser"
      },
      {
        command: "authn login --token-stdin < token.txt",
        description: "Renews the login of the current account with a token"
      }
    ])
  )
