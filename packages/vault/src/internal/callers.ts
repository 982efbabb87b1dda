/** Who calls, and what they may do. */
import * as BearerAuth from "@effect-authn/core/BearerAuth"
import type { SessionKey } from "@effect-authn/core/session/SessionKey"
import * as ServiceTokens from "@effect-authn/core/storage/ServiceTokens"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Api from "../VaultApi.ts"
import type * as Patience from "./patience.ts"

/** The name of what is protected, in challenges. */
export const realm = "vault"

/** How a note names a caller. */
export const nameOf = (caller: Api.Identity): string => {
  if (caller._tag === "Service") return `service ${caller.token.name}`
  const subject = caller.bearer.payload["sub"]
  return `bearer ${typeof subject === "string" ? subject : "without a subject"}`
}

/** Whether a service token is for a session, or for what is about none. */
const isFor = (
  token: ServiceTokens.ServiceToken,
  right: ServiceTokens.Right,
  key: SessionKey | undefined
): boolean => token.rights.includes(right) && (key === undefined || key.account.startsWith(token.accounts ?? ""))

const unauthorized = (description: string) => Effect.fail(new BearerAuth.Unauthorized({ description }))

/** Service tokens, and others by the program's `verifier` and its rule. */
export const make = (options: {
  readonly serviceTokens: ServiceTokens.ServiceTokens["Service"]
  readonly others: BearerAuth.TokenVerifier | undefined
  readonly allow: (ask: Api.Ask) => Effect.Effect<boolean>
  readonly within: ReturnType<typeof Patience.within>
}) => {
  const { others, serviceTokens, within } = options
  /** Service tokens and the program's own pass one door. */
  const verifier: BearerAuth.TokenVerifier<Api.Identity> = {
    verify: (token) => {
      if (ServiceTokens.isServiceToken(Redacted.value(token))) {
        return Effect.flatMap(
          Effect.catch(
            within(() => ({ message: "the store of the service tokens did not answer in time" }))(
              serviceTokens.find(token)
            ),
            ({ message }) => Effect.andThen(Effect.logError(message), Effect.fail(new BearerAuth.KeysUnavailable({})))
          ),
          Option.match({
            onNone: () => unauthorized("the service token is unknown, ended, or revoked"),
            onSome: (token) =>
              Effect.succeed({
                header: {},
                claims: { _tag: "Service" as const, token },
                payload: { sub: token.name }
              })
          })
        )
      }
      return others === undefined
        ? unauthorized("the token is no service token of this vault")
        : Effect.map(others.verify(token), (verified) => ({
          ...verified,
          claims: { _tag: "Bearer" as const, bearer: BearerAuth.caller(token, verified) }
        }))
    }
  }

  /** Who calls a route that others may call, too. */
  const callerOf = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) => {
    const [, given = ""] = /^bearer +(\S+)$/i.exec(headers["authorization"] ?? "") ?? []
    return given === ""
      ? Effect.fail(new BearerAuth.Unauthorized({ realm }))
      : Effect.flatMap(verifier.verify(Redacted.make(given)), ({ claims, payload }) =>
        payload["cnf"] === undefined
          ? Effect.succeed(claims)
          : Effect.fail(new BearerAuth.Unauthorized({ realm, description: "the token is bound to a key" })))
  })

  const mayDo = (caller: Api.Identity, right: ServiceTokens.Right, key?: SessionKey): Effect.Effect<boolean> =>
    caller._tag === "Service"
      ? Effect.succeed(isFor(caller.token, right, key))
      : options.allow({ caller: caller.bearer, right, key: Option.fromUndefinedOr(key) })

  const authorized = Effect.fnUntraced(function*(right: ServiceTokens.Right, key?: SessionKey) {
    const caller = yield* Api.Caller
    if (yield* mayDo(caller, right, key)) return caller
    return yield* new BearerAuth.InsufficientScope({
      realm,
      scope: right,
      description: caller._tag === "Service" && caller.token.rights.includes(right)
        ? `the service token is for accounts that begin with "${caller.token.accounts}"`
        : `the caller has not the right ${right}`
    })
  })

  return { verifier, callerOf, mayDo, authorized }
}
