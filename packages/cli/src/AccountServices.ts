/**
 * The IAM of an account, and the services around it.
 */
import * as AuthManager from "@effect-authn/core/AuthManager"
import type { IamClient } from "@effect-authn/core/iam/IamClient"
import type { IamError } from "@effect-authn/core/iam/IamError"
import * as SessionKeeper from "@effect-authn/core/keeper/SessionKeeper"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import type { SessionLock } from "@effect-authn/core/storage/SessionLock"
import type * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeStorage from "@effect-authn/platform-node/NodeStorage"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Struct from "effect/Struct"
import type * as Account from "./Account.ts"
import * as Belonging from "./Belonging.ts"
import * as EnvironmentToken from "./EnvironmentToken.ts"
import { type Failure, usage } from "./Failure.ts"
import * as Output from "./Output.ts"
import * as ProofKey from "./ProofKey.ts"
import * as Settings from "./Settings.ts"

/**
 * Which IAM, and as which client.
 */
export interface Target {
  readonly name: string
  readonly dialect: Account.Dialect
  readonly issuer: string
  readonly client?: string | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
  readonly callback?: Account.Callback | undefined
  readonly provider?: Account.Provider | undefined
  /** What of it the flags of this very command say. */
  readonly byFlags?: Belonging.Client | undefined
  readonly answers?: Account.Answers | undefined
}

/**
 * The storage of a policy. The keychain and SQL are loaded only where they are used.
 */
export const storage = (
  policy: StoragePolicy.Policy,
  plainFiles: Effect.Effect<boolean> = Effect.succeed(false)
): Layer.Layer<TokenStorage | SessionLock | StoragePolicy.StoragePolicy> =>
  NodeStorage.layer({
    policy,
    plainFiles,
    // an account knows the place of its session
    remembers: false,
    sql: Layer.unwrap(Effect.map(
      Effect.promise(() => import("@effect-authn/storage-sql/SqlTokenStorage")),
      (sql) => sql.layer()
    )),
    keychain: (options) =>
      Layer.unwrap(Effect.map(
        Effect.promise(() => import("@effect-authn/storage-keyring/KeychainKeySource")),
        (keychain) => keychain.layer(options)
      ))
  })

const iam = (
  { client, dialect, issuer, provider, scopes }: Target,
  secret: Option.Option<Redacted.Redacted>
): Effect.Effect<Iam, Failure> => {
  switch (dialect) {
    case "datalayer":
      return Effect.map(
        Effect.promise(() => import("@effect-authn/iam-datalayer/DatalayerIam")),
        (DatalayerIam): Iam => DatalayerIam.layer({ issuer })
      )
    case "genomcore":
      return Effect.map(
        Effect.promise(() => import("@effect-authn/iam-genomcore/GenomcoreIam")),
        (GenomcoreIam): Iam => GenomcoreIam.layer({ host: issuer })
      )
    case "oidc":
      return Effect.gen(function*() {
        if (client === undefined) return yield* usage("an OpenID provider needs a client: give --client-id ID")
        const OidcIam = yield* Effect.promise(() => import("@effect-authn/iam-oidc/OidcIam"))
        const { clientAuth = "client_secret", ...options } = provider ?? {}
        const layer: Iam = OidcIam.layer({
          ...options,
          issuer,
          clientId: client,
          scopes,
          clientAuthentication: Option.isNone(secret) || clientAuth === "none"
            ? { method: "none" }
            : { method: clientAuth, secret: secret.value }
        })
        return layer
      })
  }
}

type Iam = Layer.Layer<IamClient, IamError, HttpClient.HttpClient>

const secretMark = " (its secret)"

/** A client's secret lies beside its session, as a session of its own: in the same place, protected in the same way. */
const secretKey = (key: SessionKey.SessionKey): SessionKey.SessionKey =>
  SessionKey.SessionKey.make({ issuer: key.issuer, clientId: key.clientId + secretMark, account: key.account })

/**
 * Whether a key is that of a client's secret.
 */
export const isSecretKey = ({ clientId }: SessionKey.SessionKey): boolean => clientId.endsWith(secretMark)

/**
 * The keys of what is stored for an account: of its session, and of its client's secret.
 */
export const sessionKeys = (
  { client, issuer, name }: Account.Account
): readonly [session: SessionKey.SessionKey, secret: SessionKey.SessionKey] => {
  const key = SessionKey.SessionKey.make({ issuer, clientId: client, account: name })
  return [key, secretKey(key)]
}

/**
 * The client's secret in `AUTHN_CLIENT_SECRET`, where it is of this client, or why it is not.
 */
export const toldSecret = Effect.fnUntraced(function*(asked: Belonging.Asked) {
  const secret = yield* EnvironmentToken.setIn("AUTHN_CLIENT_SECRET")
  if (Option.isNone(secret)) return {}
  const objection = Belonging.objection("AUTHN_CLIENT_SECRET", asked, yield* Belonging.ofVariables)
  return objection === undefined ? { secret: Redacted.make(secret.value) } : { objection }
})

/**
 * The client's secret: of `AUTHN_CLIENT_SECRET`, where it is known whose it is, else the one that a login left beside the
 * session. A secret of one provider must not be sent to another one.
 */
export const clientSecret = Effect.fnUntraced(function*(target: Target) {
  const { secret } = yield* toldSecret(target)
  if (secret !== undefined || target.client === undefined) return Option.fromUndefinedOr(secret)
  const storage = yield* TokenStorage
  const kept = yield* storage.get(
    secretKey(SessionKey.SessionKey.make({ issuer: target.issuer, clientId: target.client, account: target.name }))
  )
  return Option.map(
    Option.flatMap(kept, Session.currentToken),
    ({ accessToken, tokenType }) =>
      tokenType === escaped ? Redacted.make(decodeURIComponent(Redacted.value(accessToken))) : accessToken
  )
})

// A secret may hold what no token may: blanks, letters of any alphabet.
const escaped = "escaped-secret"

/**
 * Keeps a client's secret beside its session.
 */
export const keepClientSecret = Effect.fnUntraced(function*(
  services: Services,
  secret: Redacted.Redacted
) {
  const keeper = Context.get(services, SessionKeeper.SessionKeeper)
  const key = secretKey(Context.get(services, AuthManager.AuthManager).key)
  const issued = {
    tokens: TokenSet.TokenSet.make({
      accessToken: Redacted.make(encodeURIComponent(Redacted.value(secret))),
      tokenType: escaped,
      issuedAt: yield* DateTime.now,
      expiresAt: Option.none(),
      idToken: Option.none(),
      scope: Option.none()
    }),
    grant: Session.Grant.cases.None.make({}),
    user: Option.none()
  }
  yield* keeper.open(key).replace(
    Session.fromResponse(key, issued, { strategy: "client secret", selection: Selection.none })
  )
})

/**
 * Forgets the secret of an account's client, if one is kept.
 */
export const dropClientSecret = Effect.fnUntraced(function*(services: Services) {
  const keeper = Context.get(services, SessionKeeper.SessionKeeper)
  const key = secretKey(Context.get(services, AuthManager.AuthManager).key)
  yield* keeper.open(key).remove({ revoke: false })
})

/**
 * What `open` gives.
 */
export type Services = Context.Context<
  | AuthManager.AuthManager
  | SessionKeeper.SessionKeeper
  | IamClient
  | TokenStorage
  | SessionLock
  | StoragePolicy.StoragePolicy
  | HttpClient.HttpClient
>

/**
 * Builds the services of an account, as long as the scope lives. Nothing is sent.
 */
export const open = Effect.fnUntraced(function*(
  target: Target,
  where: Layer.Layer<TokenStorage | SessionLock | StoragePolicy.StoragePolicy>,
  secret?: Redacted.Redacted
) {
  // One storage, for the secret and for the session.
  const stored = yield* Layer.build(where)
  const known = secret === undefined && target.dialect === "oidc"
    ? yield* Effect.provideContext(clientSecret(target), stored)
    : Option.fromUndefinedOr(secret)
  const needsSecret = target.answers?.way === "client credentials" ||
    target.provider?.clientAuth?.startsWith("client_secret") === true
  if (needsSecret && Option.isNone(known)) {
    const { objection } = yield* toldSecret(target)
    if (objection !== undefined) yield* Output.say(`authn: ${objection}`)
  }
  const storage = Layer.succeedContext(stored)
  const built = yield* Layer.build(
    Layer.provide(
      NodeAuth.layer(yield* iam(target, known), { account: target.name, storage }),
      Layer.provide(ProofKey.layer, storage)
    )
  )
  const services: Services = Context.merge(stored, built)
  return services
})

/**
 * The services of the account that is meant, as it was remembered; without one, those of the IAM that is configured, with
 * nothing stored.
 */
export const openAccount = Effect.fnUntraced(function*(settings: Settings.Settings) {
  const { account, dialect, name, values } = settings
  if (Option.isSome(account)) {
    const provider = Settings.providerAsked(account.value, values)
    return yield* open(Struct.assign(account.value, { provider }), storage(account.value.place))
  }
  if (dialect === undefined || values.issuer === undefined) return yield* Settings.notSignedIn(name)
  const services = yield* open(targetOf(settings, dialect, values.issuer.value), storage("memory"))
  if (dialect !== "oidc") return services
  if (settings.audienceObjection !== undefined) yield* Output.say(`authn: ${settings.audienceObjection}`)
  if (settings.provider.workload !== undefined) yield* asMachine(services)
  return services
})

/** Nobody has signed in here: the platform that runs this program says who it is. What it makes is not stored. */
const asMachine = Effect.fnUntraced(function*(services: Services) {
  const auth = Context.get(services, AuthManager.AuthManager)
  const { strategy } = yield* auth.login(undefined, { store: false })
  yield* Output.say(`signed in to ${auth.key.issuer} as a machine (${strategy})`)
})

/**
 * The IAM that the settings name.
 */
export const targetOf = (settings: Settings.Settings, dialect: Account.Dialect, issuer: string): Target => ({
  name: settings.name,
  dialect,
  issuer,
  client: settings.values.client_id?.value,
  scopes: settings.values.scope?.value.split(/\s+/).filter(Boolean),
  callback: settings.callback,
  byFlags: Settings.asked(settings.values).byFlags,
  ...(dialect === "oidc" ? { provider: settings.provider } : {})
})

/**
 * A token of the environment as a session: it is never stored, exchanged or revoked.
 */
export const given = (token: Redacted.Redacted): AuthStrategy.AuthStrategy => ({
  name: "environment",
  obtain: (context) =>
    Effect.map(
      AuthStrategy.token(token).obtain(context),
      (session) => Session.update(session, { durable: false, grant: Session.Grant.cases.None.make({}) })
    )
})
