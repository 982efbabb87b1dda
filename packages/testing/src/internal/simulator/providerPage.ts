/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { claims, profile } from "./datalayerUsers.ts"
import { SimulatorState } from "./state.ts"

/** The page of a sign-in provider of the Datalayer-style IAM: whoever signs in there is sent on with a token. */
const path = "/oauth2/providers/:provider"

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)

const page = (provider: string, callbackUri: string, note: string): string =>
  `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Sign in with ${escaped(provider)}</title>
<h1>Sign in with ${escaped(provider)}</h1>
<p>${escaped(note)}</p>
<form method="post" action="/oauth2/providers/${encodeURIComponent(provider)}">
<input type="hidden" name="callback_uri" value="${escaped(callbackUri)}">
<input name="login" placeholder="Handle"><input type="password" name="password" placeholder="Password">
<button type="submit">Sign in</button>
<button type="submit" name="abort" value="yes">Cancel</button>
</form>
`

const encodeProfile = Schema.encodeEffect(Schema.fromJsonString(Schema.Unknown))

const parameter = (parameters: UrlParams.UrlParams, name: string): string =>
  Option.getOrElse(UrlParams.getFirst(parameters, name), () => "")

const show = (provider: string, callbackUri: string, status: number, note: string) =>
  HttpServerResponse.setStatus(HttpServerResponse.html(page(provider, callbackUri, note)), status)

const provider = Effect.map(HttpRouter.params, ({ provider = "" }) => provider)

const sendOn = (callbackUri: string, parameters: Readonly<Record<string, string>>) => {
  const url = new URL(callbackUri)
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return HttpServerResponse.redirect(url, { status: 302 })
}

const Show = HttpRouter.add(
  "GET",
  path,
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const callbackUri = new URL(request.url, "http://127.0.0.1").searchParams.get("callback_uri") ?? ""
    return show(yield* provider, callbackUri, 200, "This is a page of the simulator.")
  })
)

const SignIn = Layer.unwrap(Effect.map(SimulatorState, (state) =>
  HttpRouter.add(
    "POST",
    path,
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const form = yield* request.urlParamsBody
      const name = yield* provider
      const callbackUri = parameter(form, "callback_uri")
      if (!URL.canParse(callbackUri)) return show(name, "", 400, "There is nowhere to go back to.")
      if (parameter(form, "abort") !== "") return sendOn(callbackUri, { error: "access_denied", provider: name })
      const account = state.account(parameter(form, "login"))
      if (account === undefined || Redacted.value(account.password) !== parameter(form, "password")) {
        return show(name, callbackUri, 401, "The handle or the password is wrong.")
      }
      state.annotate(request, { subject: account.handle })
      const token = yield* state.issue({ account, project: undefined }, claims(account))
      return sendOn(callbackUri, {
        user: yield* Effect.orDie(encodeProfile(profile(account))),
        token: Redacted.value(token)
      })
    })
  )))

export const layer = Layer.mergeAll(Show, SignIn)
