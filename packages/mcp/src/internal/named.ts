/** The addresses that a server names: which of them are asked, and by which client. */
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import { PublicHttpClient } from "@effect-authn/core/iam/PublicHttpClient"
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"

/** What it takes to ask. */
export type Services = HttpClient.HttpClient | PublicHttpClient

const refuse = (server: string, detail: string): IamError =>
  IamHttp.error({ issuer: server, method: "discover" }, new Misconfigured({ detail }))

/** The address of a server that a person has named. */
export const own = (address: string): Effect.Effect<URL, IamError> => {
  const url = URL.parse(address.trim())
  const shown = IamHttp.quote(SecureUrl.shown(address))
  const fail = (detail: string) =>
    Effect.fail(IamHttp.error({ issuer: shown, method: "configure" }, new Misconfigured({ detail })))
  if (url === null || !/^https?:\/\//i.test(address.trim())) {
    return fail(
      `"${shown}" is not the address of an MCP server: write it as a URL, for example https://mcp.example.com/mcp`
    )
  }
  if (url.username !== "" || url.password !== "") {
    return fail("the address of an MCP server has no user and no password")
  }
  if (!SecureUrl.mayCarrySecrets(url)) {
    return fail(
      `plain http would show the token to everyone on the way to ${url.hostname}: write ${
        shown.replace(/^http:/i, "https:")
      }`
    )
  }
  url.hash = ""
  return Effect.succeed(url)
}

const isLinkLocal = ({ hostname }: URL): boolean => /^(169\.254\.|\[fe[89ab][\da-f]:)/.test(hostname)

/** An address that `server` names, if it may. What it names is asked by this program, from where this program is. */
export const check = (server: URL, address: string, what: string): Effect.Effect<URL, IamError> => {
  const url = URL.parse(address)
  const named = `the server names ${IamHttp.quote(SecureUrl.shown(address))} as ${what}`
  const fail = (why: string) => Effect.fail(refuse(server.origin, `${named}, ${why}: nothing is sent there`))
  if (url === null || !/^https?:$/.test(url.protocol)) return fail("which is no address of the web")
  if (url.username !== "" || url.password !== "") return fail("which has a user or a password")
  if (!SecureUrl.mayCarrySecrets(url)) return fail("which is not https")
  if (SecureUrl.isLoopback(url) && !SecureUrl.isLoopback(server)) return fail("which is this machine")
  if (isLinkLocal(url) && !isLinkLocal(server)) return fail("which is a service of the network that this machine is in")
  return Effect.succeed(url)
}

/** The client for what `server` names: to public addresses only, unless the server itself is in a private network. */
export const clientFor = Effect.fnUntraced(function*(server: URL): Effect.fn.Return<
  HttpClient.HttpClient,
  never,
  Services
> {
  const guarded = yield* PublicHttpClient
  return SecureUrl.isLoopback(server) || (yield* guarded.isPrivate(server))
    ? yield* HttpClient.HttpClient
    : guarded.client
})

/** Asks an address that was checked. */
export const execute = (
  server: URL,
  request: HttpClientRequest.HttpClientRequest,
  call: IamHttp.Call
): Effect.Effect<IamHttp.Answer, IamError, Services> =>
  Effect.flatMap(
    clientFor(server),
    (client) => Effect.provideService(IamHttp.execute(request, call), HttpClient.HttpClient, client)
  )
