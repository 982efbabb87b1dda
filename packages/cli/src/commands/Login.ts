/**
 * `authn login`.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import { IamError } from "@effect-authn/core/iam/IamError"
import * as Session from "@effect-authn/core/session/Session"
import * as User from "@effect-authn/core/session/User"
import { StoragePolicy } from "@effect-authn/core/storage/StoragePolicy"
import * as Cause from "effect/Cause"
import * as Command from "effect/cli/Command"
import type * as Prompt from "effect/cli/Prompt"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Stdio from "effect/Stdio"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import { millisLeft } from "../CurrentToken.ts"
import * as EnvironmentToken from "../EnvironmentToken.ts"
import * as Failure from "../Failure.ts"
import * as Input from "../Input.ts"
import { flags } from "../login/Flags.ts"
import * as LoginMetadata from "../login/Metadata.ts"
import * as Strategy from "../login/Strategy.ts"
import * as Target from "../login/Target.ts"
import * as Way from "../login/Way.ts"
import * as LoginRecord from "../LoginRecord.ts"
import * as Output from "../Output.ts"
import * as ProofKey from "../ProofKey.ts"
import * as Question from "../Question.ts"
import * as Settings from "../Settings.ts"
import * as StatusView from "../StatusView.ts"
import * as TimeSpan from "../TimeSpan.ts"
import * as Waiting from "../Waiting.ts"

// Loaded by who needs it, so that no other command starts slower for it.
const loadRemote = Effect.promise(() => import("../vault/Remote.ts"))

// How often a person may type what is refused.
const triesOfPerson = 3

const isIamError = Schema.is(IamError)

const allowPlainFiles = Effect.gen(function*() {
  if (!(yield* Input.hasPerson)) return false
  return yield* Question.leave(
    "There is no keychain here and no key to encrypt with. Keep the session in a plain file that only you can read?"
  )
}).pipe(Effect.orElseSucceed(() => false))

/** What was tried for a login that a platform may make, in order. */
const tried = (chosen: Way.Chosen, absent: string | undefined) => [
  { source: "environment", verdict: "skipped", reason: "a login stores no token of a variable" },
  { source: "stored session", verdict: "skipped", reason: "a login makes a new one" },
  chosen.way === "workload"
    ? { source: "workload identity", verdict: "used", reason: `${chosen.identity.source}, for ${chosen.audience}` }
    : { source: "workload identity", verdict: "skipped", reason: absent ?? "" },
  ...(chosen.way === "workload" ? [] : [{ source: chosen.way, verdict: "used", reason: "the way of this login" }])
]

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
    const told = yield* AccountServices.toldSecret(Settings.asked(settings.values))
    const hasPerson = yield* Input.hasPerson
    // A person can say which way is meant; where there is none, the secret is it.
    const hasSecret = settings.dialect === "oidc" && (isKept || (told.secret !== undefined && !hasPerson))
    const found = Way.named(given)
    if (found.length > 1) {
      return yield* Failure.usage(`one way to sign in at a time: ${found.map((way) => Way.option[way]).join(", or ")}`)
    }
    // A vault could not renew what a platform of this machine says.
    const mayBeMachine = settings.provider.workload !== undefined && remote === undefined
    if (settings.dialect === "oidc" && found.length === 0) {
      const unused = [
        settings.audienceObjection,
        remote === undefined || settings.provider.workload === undefined
          ? undefined
          : "the platform that runs this is not asked, since a vault could not renew what it says",
        hasPerson || isKept ? undefined : told.objection
      ]
      for (const objection of unused) if (objection !== undefined) yield* Output.say(`authn: ${objection}`)
    }
    const lacks = hasPerson ? [] : Way.lacking(settings, given, metadata, found, hasSecret || mayBeMachine)
    if (lacks.length > 0) return yield* Failure.usage([...lacks, "See: authn login --help"].join("\n"))
    // What was used last is suggested, in another account, too.
    const before = Option.getOrUndefined(
      Option.isSome(settings.account)
        ? settings.account
        : Option.flatten(yield* Effect.option(Effect.flatMap(Settings.current, Account.get)))
    )
    const target = yield* Target.complete(settings, metadata, before)
    yield* Target.checkFlags(target, given)
    const answers = before?.issuer === target.issuer ? before.answers : undefined
    const machine = mayBeMachine && found.length === 0 ? yield* Way.machine(target) : {}
    if (machine.absent !== undefined && hasPerson && !asJson) {
      yield* Output.say("No platform says who this program is (authn explain says where it was looked for).")
    }
    const chosen = machine.chosen ?? (yield* Way.choose(target, found, hasSecret, answers?.way, machine.absent))
    const { way } = chosen
    const isBound = target.provider?.dpop === true
    if (isBound && way === "token") {
      return yield* Failure.usage(
        "a token that exists already is bound to no key: give --no-dpop, or another way to sign in"
      )
    }
    if (isBound && remote !== undefined) {
      return yield* Failure.usage(
        "a vault hands out tokens, and one that is bound to a key is worth nothing without it: give --no-dpop"
      )
    }
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
    if (isBound && isStored) yield* ProofKey.check(choice.place)
    const kept = target.dialect === "oidc"
      ? yield* Effect.provideContext(AccountServices.clientSecret(target), place)
      : Option.none()
    const piped = given.clientSecretStdin ? yield* Input.secret("the client's secret") : undefined
    const needsSecret = way === "client credentials" ||
      target.provider?.clientAuth?.startsWith("client_secret") === true
    const isSecretAsked = target.dialect === "oidc" && needsSecret && piped === undefined && Option.isNone(kept)
    if (isSecretAsked && hasPerson) {
      const { objection } = yield* AccountServices.toldSecret(target)
      if (objection !== undefined) yield* Output.say(`authn: ${objection}`)
    }

    // What was typed is what a person may get wrong, and is asked for again.
    let typedHandle = Option.getOrElse(given.handle, () => answers?.handle)
    let organization = settings.values.organization?.value ?? answers?.organization
    const signIn = Effect.gen(function*() {
      const secret = isSecretAsked
        ? yield* Way.missing(
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
        typedHandle = yield* Way.missing(Way.lack.handle, Question.line("Name", undefined, typedHandle))
      }
      const strategy = yield* Strategy.make(chosen, services, settings.callback, typedHandle, given)
      if (target.dialect === "genomcore" && way === "password" && settings.values.organization === undefined) {
        organization = yield* Way.missing(Way.lack.organization, Question.line("Organization", undefined, organization))
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
      (chosen.way === "token" && !given.tokenStdin && chosen.token === undefined)
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
        const others = Way.ways[target.dialect].filter((way) => way !== "browser" && way !== "device")
        return Effect.fail(Failure.usage([
          "none of this can sign you in here:",
          ...tried.map(({ reason, strategy }) => `  ${strategy}: ${reason}`),
          `Give ${others.map((way) => Way.option[way]).join(", or ")}`
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
        ...(mayBeMachine && found.length === 0 ? { tried: tried(chosen, machine.absent) } : {}),
        ...(session.proofKey === undefined ? {} : { boundTo: StatusView.keeperOf(session.proofKey) }),
        environment,
        expiresAt: Option.getOrNull(
          Option.map(Option.flatMap(tokens, ({ expiresAt }) => expiresAt), DateTime.formatIso)
        )
      })
    }
    const { bold, green } = yield* Output.paint("stderr")
    const short = yield* Output.short
    const account = yield* Settings.flagFor(target.name)
    const next = session.proofKey === undefined
      ? [`authn token${account},`, `authn exec${account} -- CMD,`, "authn status"].map(Output.whole).join(" ")
      : "authn status. Its tokens are bound to a key, for programs that use AuthHttpClient"
    // The vault gets what the IAM gave, and neither the client's secret nor where it was.
    const mayRenew = session.grant._tag !== "None" && (remote === undefined || session.grant._tag !== "Reissue")
    const name = way === "workload"
      ? ` as a machine (${Output.plain(session.strategy)})`
      : isNamed
      ? ` as ${bold(Output.plain(user))}`
      : ""
    yield* Output.say(
      `${green("✓")} Signed in${name} at ${auth.key.issuer} (account "${target.name}")`,
      isStored
        ? `  The session is kept in ${short(choice.description)}.`
        : remote === undefined
        ? "  Nothing was stored."
        : `  The session is kept in the vault at ${remote.url}, as "${remote.account}".`,
      `  The token is valid ${Number.isFinite(left) ? `for ${TimeSpan.format(left)}` : "until it is revoked"}${
        (isStored || remote !== undefined) && mayRenew ? ", and renewed when it is due" : ""
      }.`,
      ...(remote !== undefined && !mayRenew ? ["  The vault has nothing to renew it with."] : []),
      ...(remote !== undefined
        ? [`  Next: authn token --vault ${remote.url}${account}`]
        : !isStored
        ? []
        : environment === null
        ? [`  Next: ${next}`]
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
