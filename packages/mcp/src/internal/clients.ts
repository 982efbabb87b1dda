/** As which client: what the program says, else what a person has told and a sign-in has kept. */
import type { ClientAuthentication } from "@effect-authn/iam-oidc/ClientAuthentication"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as ClientRegistration from "../ClientRegistration.ts"
import type * as Server from "./server.ts"

/** The clients of a server. */
export const of = (
  { settings: { client, metadataDocument } }: Server.Server,
  told: ClientRegistration.Clients | undefined
): ClientRegistration.Clients => ({
  // Who names a document now wants it in the place of a client that was given before.
  registered: told?.registered ??
    Option.getOrUndefined(Option.map(told?.metadataDocument === undefined ? client : Option.none(), (client) => ({
      clientId: client.clientId,
      issuer: client.issuer,
      authentication: Option.match(client.secret, {
        onNone: () => ({ method: "none" as const }),
        onSome: (secret) => ({ method: "client_secret_basic" as const, secret })
      })
    }))),
  metadataDocument: told?.metadataDocument ?? Option.getOrUndefined(metadataDocument),
  name: told?.name
})

/** How a client proves who it is. A secret is shown in the way that the authorization server takes it. */
export const authentication = ({ as, client }: Server.SignIn, { registered }: ClientRegistration.Clients) => {
  if (registered?.clientId !== client.clientId) return ClientRegistration.authentication(client)
  const own = registered.authentication ?? { method: "none" as const }
  return "secret" in own ? { method: ClientRegistration.secretMethod(as), secret: own.secret } : own
}

/** What is remembered for every program of the user, after a sign-in. */
export const settings = (
  { settings }: Server.Server,
  issuer: string,
  told: {
    readonly clients?: ClientRegistration.Clients | undefined
    readonly scopes?: ReadonlyArray<string> | undefined
  }
): Server.Server["settings"] => {
  const registered = told.clients?.registered
  return {
    client: registered === undefined && told.clients?.metadataDocument !== undefined
      ? Option.none()
      : registered === undefined
      ? Option.map(settings.client, (client) => ({ ...client, issuer: client.issuer ?? issuer }))
      : isKept(registered.authentication)
      ? Option.some({
        issuer: registered.issuer ?? issuer,
        clientId: registered.clientId,
        secret: constantSecret(registered.authentication)
      })
      : Option.none(),
    metadataDocument: Option.orElse(
      Option.fromUndefinedOr(told.clients?.metadataDocument),
      () => settings.metadataDocument
    ),
    scopes: told.scopes ?? settings.scopes
  }
}

type Authentication = ClientAuthentication | undefined

/** The secret that a client has for good; none of one that is read for each request. */
export const constantSecret = (authentication: Authentication): Option.Option<Redacted.Redacted> => {
  const secret = authentication !== undefined && "secret" in authentication ? authentication.secret : undefined
  return secret === undefined || Effect.isEffect(secret) ? Option.none() : Option.some(secret)
}

/** Whether other programs could authenticate as this client with what can be remembered of it. */
const isKept = (authentication: Authentication): boolean =>
  authentication === undefined || authentication.method === "none" || Option.isSome(constantSecret(authentication))
