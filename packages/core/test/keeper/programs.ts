/**
 * Several programs over one IAM and one storage: each has its own memory, its own disk between itself and the storage, and
 * its own lock. The IAM knows two persons, and notes which refresh tokens it was shown and told of.
 */
import {
  AuthManager,
  AuthStrategy,
  BackgroundSleep,
  IamClient,
  Session,
  SessionKeeper,
  SessionLock,
  TokenStorage,
  TokenStorageError,
  User
} from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { Clock, Context, Deferred, Duration, Effect, Layer, Option, Random, Redacted, Stream } from "effect"
import { program } from "../fixtures.ts"

/** What happens between a program and the storage that it shares with others. Tests change it as they go. */
export interface Disk {
  writes: "work" | "full" | "hang"
  reads: "work" | "fail"
  /** What writes that hang wait for. */
  readonly repaired: Deferred.Deferred<void>
  /** A read sees what is there when it begins, and takes this long to say so. */
  readsTake: Duration.Duration
  /** Whether the program hears that another one wrote. */
  hints: boolean
  /** What others do right before the next write of this program, once. */
  beforeNextWrite: Effect.Effect<unknown, unknown> | undefined
}

/** Two persons, by the name that they sign in with. */
export type Person = "ada" | "bob"

export const as = (person: Person) => AuthStrategy.password({ handle: person, password: ScriptedIam.password })

export const nameOf = (user: Option.Option<User.User>) =>
  Option.getOrUndefined(Option.flatMap(user, ({ handle }) => handle))

export const refreshTokenOf = (session: { readonly grant: Session.Grant }): string | undefined =>
  session.grant._tag === "RefreshToken" ? Redacted.value(session.grant.refreshToken) : undefined

/** The lock that excludes nobody. */
export const identityLock = SessionLock.SessionLock.of({ withLock: () => (effect) => effect })

const full = (method: string) =>
  new TokenStorageError.TokenStorageError({
    storage: "memory",
    method,
    reason: new TokenStorageError.StorageUnavailable({
      detail: "no space left on device: free some",
      written: "no"
    })
  })

const diskOver = (inner: TokenStorage.TokenStorage["Service"], disk: Disk) => {
  const writing = (method: string, write: Effect.Effect<void, TokenStorageError.TokenStorageError>) =>
    Effect.suspend(() => {
      const before = disk.beforeNextWrite
      disk.beforeNextWrite = undefined
      if (before !== undefined) return Effect.andThen(Effect.exit(before), write)
      return disk.writes === "work"
        ? write
        : disk.writes === "hang"
        ? Effect.andThen(Deferred.await(disk.repaired), write)
        : Effect.fail(full(method))
    })
  return TokenStorage.TokenStorage.of({
    ...inner,
    get: (key) =>
      Effect.suspend(() => {
        const { reads, readsTake } = disk
        if (reads === "fail") return Effect.fail(full("get"))
        return Duration.isZero(readsTake) ? inner.get(key) : Effect.tap(inner.get(key), () => Effect.sleep(readsTake))
      }),
    put: (key, next, expected) => writing("put", inner.put(key, next, expected)),
    remove: (key, expected) => writing("remove", inner.remove(key, expected)),
    changes: Stream.filter(inner.changes, () => disk.hints)
  })
}

/** The scripted IAM for two persons. Whose a token is goes from each token to the one that it is renewed with. */
const twoPersons = (iam: IamClient.IamClient["Service"]) => {
  const owners = new Map<string, User.User>()
  const presented: Array<string> = []
  const revoked: Array<string> = []

  const owned = (response: Session.TokenResponse, owner: User.User | undefined): Session.TokenResponse => {
    if (owner === undefined) return response
    owners.set(Redacted.value(response.tokens.accessToken), owner)
    const refreshToken = refreshTokenOf(response)
    if (refreshToken !== undefined) owners.set(refreshToken, owner)
    return { ...response, user: Option.some(owner) }
  }

  const client = IamClient.IamClient.of({
    ...iam,
    login: (credentials, selection) =>
      Effect.map(iam.login({ ...credentials, handle: "ada" }, selection), (response) => {
        const ada = Option.getOrThrow(response.user)
        return owned(
          response,
          credentials.handle === "bob" ? User.User.make({ ...ada, id: "01J0BOB", handle: Option.some("bob") }) : ada
        )
      }),
    renew: (session, selection) =>
      Effect.suspend(() => {
        const refreshToken = refreshTokenOf(session)
        if (refreshToken !== undefined) presented.push(refreshToken)
        return Effect.map(
          iam.renew(session, selection),
          (response) => owned(response, owners.get(refreshToken ?? ""))
        )
      }),
    whoami: (session) =>
      Effect.map(iam.whoami(session), (user) => {
        const tokens = Option.getOrThrow(Session.currentToken(session))
        return owners.get(Redacted.value(tokens.accessToken)) ?? user
      }),
    revoke: (session) =>
      Effect.suspend(() => {
        const refreshToken = refreshTokenOf(session)
        if (refreshToken !== undefined) revoked.push(refreshToken)
        return iam.revoke(session)
      })
  })
  return {
    client,
    ledger: {
      presented,
      revoked,
      ownerOf: (token: Redacted.Redacted) => nameOf(Option.fromUndefinedOr(owners.get(Redacted.value(token))))
    }
  }
}

/** One program. */
export interface Program {
  readonly auth: AuthManager.AuthManager["Service"]
  readonly keeper: SessionKeeper.SessionKeeper["Service"]
  readonly disk: Disk
}

/** How a program differs from the others. */
export interface Setting {
  readonly lock?: SessionLock.SessionLock["Service"]
  /** Whether it renews on its own; else only callers make it renew. */
  readonly scheduled?: boolean
  /** What its draws come from. */
  readonly seed?: number
  readonly clock?: Clock.Clock
  readonly iam?: (iam: IamClient.IamClient["Service"]) => Partial<IamClient.IamClient["Service"]>
}

/** An IAM with strict rotation and a storage, as `start` gives each program its own way to them. */
export const makeHouse = Effect.fnUntraced(function*(options: ScriptedIam.Options = {}) {
  const context = yield* Layer.build(Layer.mergeAll(
    ScriptedIam.layer({ rotation: "strict", tokens: "opaque", ...options }),
    TokenStorage.layerMemory
  ))
  const storage = Context.get(context, TokenStorage.TokenStorage)
  const shared = Context.get(context, SessionLock.SessionLock)
  const { client, ledger } = twoPersons(Context.get(context, IamClient.IamClient))

  const start = Effect.fnUntraced(function*(setting: Setting = {}) {
    const disk: Disk = {
      writes: "work",
      reads: "work",
      repaired: Deferred.makeUnsafe(),
      readsTake: Duration.zero,
      hints: true,
      beforeNextWrite: undefined
    }
    const built = yield* Layer.build(
      Layer.fresh(program).pipe(Layer.provide([
        Layer.succeed(IamClient.IamClient, IamClient.IamClient.of({ ...client, ...setting.iam?.(client) })),
        Layer.succeed(TokenStorage.TokenStorage, diskOver(storage, disk)),
        Layer.succeed(SessionLock.SessionLock, setting.lock ?? shared),
        ...(setting.scheduled === true
          ? []
          : [Layer.succeed(BackgroundSleep.BackgroundSleep, () => Effect.never)])
      ]))
    ).pipe(
      Random.withSeed(setting.seed ?? 1),
      Effect.provideService(Clock.Clock, setting.clock ?? (yield* Clock.Clock))
    )
    const auth = Context.get(built, AuthManager.AuthManager)
    const started: Program = { auth, keeper: Context.get(built, SessionKeeper.SessionKeeper), disk }
    return started
  })

  const { key } = (yield* start()).auth
  return {
    start,
    ledger,
    iam: Context.get(context, ScriptedIam.ScriptedIam),
    client,
    storage,
    lock: shared,
    stored: storage.get(key)
  }
})

export type House = Effect.Success<ReturnType<typeof makeHouse>>
