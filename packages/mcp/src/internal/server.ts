/** What is remembered of one MCP server, so that a new process needs neither discovery nor a person. */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { AuthorizationServer } from "../AuthorizationServer.ts"
import { Registered } from "../ClientRegistration.ts"

/** What a person has said once about a server. */
export const Settings = Schema.Struct({
  client: Schema.OptionFromOptionalKey(Schema.Struct({
    issuer: Schema.optionalKey(Schema.String),
    clientId: Schema.NonEmptyString,
    secret: Schema.OptionFromOptionalKey(Schema.RedactedFromValue(Schema.NonEmptyString))
  })),
  metadataDocument: Schema.OptionFromOptionalKey(Schema.NonEmptyString),
  scopes: Schema.Array(Schema.String)
})

/** Where the last sign-in was. */
export const SignIn = Schema.Struct({
  resource: Schema.NonEmptyString,
  as: AuthorizationServer,
  client: Registered,
  isDynamic: Schema.Boolean,
  /** All scopes that were asked for. */
  scopes: Schema.Array(Schema.String)
})

export type SignIn = typeof SignIn.Type

export const Server = Schema.Struct({
  settings: Settings,
  signIn: Schema.OptionFromOptionalKey(SignIn)
})

export type Server = typeof Server.Type

/** A server that nothing is known of. */
export const unknown: Server = {
  settings: { client: Option.none(), metadataDocument: Option.none(), scopes: [] },
  signIn: Option.none()
}
