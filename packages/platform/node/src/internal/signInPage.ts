/**
 * The page with which a sign-in begins.
 *
 * Its address was an argument of the browser's opener, so every user of the machine may know it, and be there first. Who is
 * first gets a cookie and is led on; who comes after without it ends the sign-in, since one of the two is a stranger.
 */
import { type Confirmation, type SignInPage, SignInShared } from "@effect-authn/core/login/CallbackServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Page from "./callbackPage.ts"

/** - `origin`: where this machine is reached, as the redirect URI has it: a cookie belongs to one name of a host. */
interface Options {
  readonly url: string
  readonly confirmation: Confirmation | undefined
  readonly origin: string
}

/** A page that is served. */
interface Served {
  /** Whose a request is that comes to the callback. */
  readonly admits: (request: IncomingMessage) => boolean
  /** Answers a request to the page; `false` where it is for something else. */
  readonly answer: (request: IncomingMessage, response: ServerResponse) => boolean
  /** The header by which a browser forgets the cookie. */
  readonly forget: { readonly "set-cookie": string }
  /** What whoever signs in sees of it. */
  readonly page: SignInPage
}

const newPath = (): string => `/sign-in/${randomUUID()}`

/** Makes the page. Nobody has opened it. */
export const make = ({ confirmation, origin, url }: Options): Served => {
  const first = newPath()
  // Cookies do not know ports, and two sign-ins may be under way.
  const name = `authn-sign-in-${new URL(origin).port}`
  const cookie = `${name}=${randomUUID()}`
  const shared = Deferred.makeUnsafe<never, SignInShared>()
  let path = first
  let phase: "unopened" | "opened" | "shared" | "printed" = "unopened"

  const hasCookie = ({ headers }: IncomingMessage): boolean => (headers.cookie ?? "").split(/;\s*/).includes(cookie)

  const show = (response: ServerResponse): void =>
    confirmation === undefined ? Page.goOn(response, url) : Page.sendConfirmation(response, confirmation)

  const share = (response: ServerResponse): void => {
    phase = "shared"
    // The page is on its way before the server closes with the login.
    Effect.runFork(Effect.andThen(Page.sent(response, "shared"), Deferred.fail(shared, new SignInShared())))
  }

  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const isFirst = phase === "unopened"
    if (request.method !== "GET" && (request.method !== "POST" || confirmation === undefined || isFirst)) {
      return Page.send(response, "method")
    }
    if (phase === "shared") return Page.send(response, "shared")
    if (phase === "opened" && !hasCookie(request)) return share(response)
    if (isFirst) {
      phase = "opened"
      response.setHeader("set-cookie", `${cookie}; Path=/; HttpOnly; SameSite=Lax`)
    }
    return request.method === "GET" ? show(response) : Page.goOn(response, url)
  }

  return {
    admits: (request) => phase === "printed" || (phase === "opened" && hasCookie(request)),
    answer: (request, response) => {
      if (request.url === path) serve(request, response)
      else if (request.url === first) Page.send(response, "moved")
      else return false
      return true
    },
    forget: { "set-cookie": `${name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0` },
    page: {
      url: origin + first,
      shared: Deferred.await(shared),
      printed: Effect.sync(() => {
        if (phase !== "unopened") return origin + path
        phase = "printed"
        path = newPath()
        return confirmation === undefined ? url : origin + path
      })
    }
  }
}
