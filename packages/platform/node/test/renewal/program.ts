/** A program with a session in files, set up as its author would, with places to break it. Runs in tests and children. */
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as IamClient from "@effect-authn/core/iam/IamClient"
import type * as IamError from "@effect-authn/core/iam/IamError"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import type * as RefreshPolicy from "@effect-authn/core/session/RefreshPolicy"
import * as Session from "@effect-authn/core/session/Session"
import type * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as DatalayerIam from "@effect-authn/iam-datalayer/DatalayerIam"
import * as GenomcoreIam from "@effect-authn/iam-genomcore/GenomcoreIam"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Struct from "effect/Struct"

export type Dialect = "genomcore" | "datalayer"

/** Which session, of which IAM. `renewFirst` and `timeLimit` (milliseconds) differ from the dialect's policy if given. */
export interface Setup {
  readonly issuer: string
  readonly directory: string
  readonly dialect?: Dialect
  readonly renewFirst?: boolean
  readonly timeLimit?: number
}

/** What of the program is not as it should be. */
export interface Changes {
  readonly iam?: (iam: IamClient.IamClient["Service"]) => Partial<IamClient.IamClient["Service"]>
  readonly storage?: (storage: TokenStorage.TokenStorage["Service"]) => Partial<TokenStorage.TokenStorage["Service"]>
  readonly lock?: (lock: SessionLock.SessionLock["Service"]) => SessionLock.SessionLock["Service"]
  readonly files?: Layer.Layer<FileSystem.FileSystem>
  /** The client with which the dialect speaks to its IAM. */
  readonly http?: Layer.Layer<HttpClient.HttpClient>
}

/** A lock that locks nothing: what is to be seen of it shows that a test can fail. */
export const noLock = (): SessionLock.SessionLock["Service"] => ({ withLock: () => (effect) => effect })

export const dialect = (
  { dialect = "genomcore", issuer, renewFirst, timeLimit }: Setup
): Layer.Layer<IamClient.IamClient, IamError.IamError, HttpClient.HttpClient> => {
  const policy: Partial<RefreshPolicy.RefreshPolicy> = {
    backoff: { first: Duration.millis(20), longest: Duration.seconds(1) },
    ...(renewFirst === undefined ? {} : { renewFirst }),
    ...(timeLimit === undefined ? {} : { timeLimit: Duration.millis(timeLimit) })
  }
  return dialect === "genomcore"
    ? GenomcoreIam.layer({ host: issuer, policy })
    : DatalayerIam.layer({ issuer, policy })
}

const same = <A>(service: A): A => service

export const program = (setup: Setup, changes: Changes = {}) => {
  const { directory } = setup
  const iam = Layer.effect(
    IamClient.IamClient,
    Effect.map(IamClient.IamClient, (iam) => IamClient.IamClient.of({ ...iam, ...changes.iam?.(iam) }))
  ).pipe(
    Layer.provide(
      changes.http === undefined ? dialect(setup) : Layer.provide(dialect(setup), changes.http)
    )
  )
  const files = FileTokenStorage.layerNoDeps({ directory }).pipe(Layer.provide(changes.files ?? NodeFileSystem.layer))
  const storage = Layer.mergeAll(
    Layer.effect(
      TokenStorage.TokenStorage,
      Effect.map(
        TokenStorage.TokenStorage,
        (storage) => TokenStorage.TokenStorage.of({ ...storage, ...changes.storage?.(storage) })
      )
    ),
    Layer.effect(SessionLock.SessionLock, Effect.map(SessionLock.SessionLock, changes.lock ?? same))
  ).pipe(Layer.provide(files))
  return Layer.fresh(NodeAuth.layer(iam, { storage }))
}

export const password = "correct-horse-battery"

export const as = (handle: "ada" | "bob") => AuthStrategy.password({ handle, password: Redacted.make(password) })
export const ada = as("ada")

/** Signs in as another process would, and leaves the session in the files with tokens that end in `left`. */
export const signIn = Effect.fnUntraced(function*(setup: Setup, left: Duration.Duration) {
  const { key } = yield* Effect.gen(function*() {
    const auth = yield* AuthManager.AuthManager
    return yield* auth.login(ada, setup.dialect === "datalayer" ? {} : { selection: { organization: "acme" } })
  }).pipe(Effect.provide(program(setup)), Effect.scoped)
  return yield* age(setup, key, left)
})

/**
 * Moves the end of all stored tokens to `left` from now; they were issued an hour ago. A program that has the session
 * open hears of it, as of any other change.
 */
export const age = (setup: Setup, key: SessionKey.SessionKey, left: Duration.Duration) =>
  Effect.gen(function*() {
    const storage = yield* TokenStorage.TokenStorage
    const session = yield* Effect.flatMap(storage.get(key), Effect.fromOption)
    const now = yield* DateTime.now
    const tokens = Object.fromEntries(
      Object.entries(session.tokens).map(([id, held]) => [
        id,
        TokenSet.TokenSet.make(Struct.assign(held, {
          issuedAt: DateTime.subtractDuration(now, Duration.hours(1)),
          expiresAt: Option.some(DateTime.addDuration(now, left))
        }))
      ])
    )
    const aged = Session.update(session, { tokens, generation: Session.nextGeneration(session.generation, now) })
    yield* storage.put(key, aged, session.generation)
    return aged
  }).pipe(Effect.provide(FileTokenStorage.layer({ directory: setup.directory })))

export const accessToken = (tokens: TokenSet.TokenSet): string => Redacted.value(tokens.accessToken)
