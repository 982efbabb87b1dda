/** As which client: what the program says, else what a person has told and a sign-in has kept. */
import * as Option from "effect/Option"
import * as ClientRegistration from "../ClientRegistration.ts"
import type * as Server from "./server.ts"

/** The clients of a server. */
export const of = (
  { settings: { client, metadataDocument } }: Server.Server,
  told: ClientRegistration.Clients | undefined
): ClientRegistration.Clients => ({
  registered: told?.registered ?? Option.getOrUndefined(Option.map(client, (client) => ({
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
    client: registered === undefined
      ? Option.map(settings.client, (client) => ({ ...client, issuer: client.issuer ?? issuer }))
      : registered.authentication?.method === "private_key_jwt"
      ? Option.none()
      : Option.some({
        issuer: registered.issuer ?? issuer,
        clientId: registered.clientId,
        secret: registered.authentication !== undefined && "secret" in registered.authentication
          ? Option.some(registered.authentication.secret)
          : Option.none()
      }),
    metadataDocument: Option.orElse(
      Option.fromUndefinedOr(told.clients?.metadataDocument),
      () => settings.metadataDocument
    ),
    scopes: told.scopes ?? settings.scopes
  }
}
