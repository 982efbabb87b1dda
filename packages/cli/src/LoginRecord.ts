/**
 * What is kept of a login, and what is left of the one before.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import { IamClient } from "@effect-authn/core/iam/IamClient"
import { StoragePolicy } from "@effect-authn/core/storage/StoragePolicy"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Account from "./Account.ts"
import * as AccountServices from "./AccountServices.ts"
import * as Output from "./Output.ts"

/**
 * Remembers a login. `unattended` is left as it was, unless told. With `revokePrevious` the IAM is told to end a session
 * that was left in another place.
 */
export const login = Effect.fnUntraced(function*(
  target: AccountServices.Target,
  services: AccountServices.Services,
  options?: {
    readonly unattended: boolean
    readonly revokePrevious: boolean
    readonly answers: Account.Answers
  }
) {
  const { key } = Context.get(services, AuthManager)
  const { policy } = Context.get(services, IamClient)
  const { place } = yield* Context.get(services, StoragePolicy).choice
  const before = yield* Account.get(target.name)
  const moved = Option.filter(before, (account) => account.place !== place)
  const isUnattended = options?.unattended ??
    (Option.isNone(moved) && Option.exists(before, (account) => account.unattended === true))
  const { callback, provider } = target
  const account = Account.Account.make({
    version: 1,
    name: target.name,
    dialect: target.dialect,
    issuer: key.issuer,
    client: key.clientId,
    ...(target.scopes === undefined ? {} : { scopes: target.scopes }),
    ...(callback === undefined || Object.keys(callback).length === 0 ? {} : { callback }),
    ...(provider === undefined || Object.keys(provider).length === 0 ? {} : { provider }),
    ...(options === undefined ? {} : { answers: options.answers }),
    ...(isUnattended ? { unattended: true } : {}),
    place,
    ...(Option.isSome(before) && before.value.hosts !== undefined ? { hosts: before.value.hosts } : {}),
    window: Duration.toMillis(policy.window),
    shortLivedFraction: policy.shortLivedFraction
  })
  yield* Account.put(account)
  // A session that was left in another place would live on there, and so would the client's secret.
  if (Option.isSome(moved) && moved.value.place !== "memory") {
    yield* Effect.gen(function*() {
      const old = yield* AccountServices.open(moved.value, AccountServices.storage(moved.value.place))
      const auth = Context.get(old, AuthManager)
      yield* options?.revokePrevious === true ? auth.logout : auth.clearStoredToken
      if (moved.value.dialect === "oidc") yield* AccountServices.dropClientSecret(old)
    }).pipe(
      Effect.scoped,
      Effect.catch(({ message }) => Output.say(`The earlier session could not be removed: ${message}`))
    )
  }
  return account
})
