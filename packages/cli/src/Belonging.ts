/**
 * A setting that is of one IAM: a client's secret, or the audience of this platform's tokens. It is of the issuer and the
 * client that are named beside it, and goes to no other, whoever asks.
 */
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as EnvironmentToken from "./EnvironmentToken.ts"

/**
 * An issuer and a client, as far as they are named.
 */
export interface Client {
  readonly issuer?: string | undefined
  readonly client?: string | undefined
}

/**
 * Whom a command speaks to, and what of it the flags of this very command say.
 */
export interface Asked extends Client {
  readonly byFlags?: Client | undefined
}

/**
 * The issuer and the client that the variables name.
 */
export const ofVariables: Effect.Effect<Client> = Effect.map(
  Effect.all([EnvironmentToken.setIn("AUTHN_ISSUER"), EnvironmentToken.setIn("AUTHN_CLIENT_ID")]),
  ([issuer, client]) => ({ issuer: Option.getOrUndefined(issuer), client: Option.getOrUndefined(client) })
)

/**
 * Why a setting is not of whom the command speaks to; `undefined` where it is. What is named `beside` the setting decides;
 * flags do only where nothing is.
 */
export const objection = (setting: string, { byFlags, client, issuer }: Asked, beside: Client): string | undefined => {
  const parts = [
    ["issuer", issuer, beside.issuer, byFlags?.issuer],
    ["client", client, beside.client, byFlags?.client]
  ] as const
  const foreign = parts.find(([, asked, named]) => named !== undefined && named !== asked)
  if (foreign !== undefined) {
    const [what, asked, named] = foreign
    return `${setting} is not used: beside it the ${what} "${SecureUrl.shown(named ?? "")}" is named, and this is ` +
      (asked === undefined ? "another one" : `"${SecureUrl.shown(asked)}"`)
  }
  return parts.every(([, asked, named, flag]) => asked !== undefined && (named ?? flag) === asked)
    ? undefined
    : `${setting} is not used, since nothing says that it is of ${SecureUrl.shown(issuer ?? "this IAM")}: ` +
      `name its issuer and client beside it (AUTHN_ISSUER=${SecureUrl.shown(issuer ?? "URL")} and ` +
      `AUTHN_CLIENT_ID=${client ?? "ID"}), or with the flags of authn login`
}
