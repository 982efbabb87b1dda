/**
 * The page with which a sign-in begins.
 *
 * Its address was an argument of the browser's opener, so every user of the machine may know it, and be there first. Who is
 * first gets a cookie and is led on; who comes after without it ends the sign-in, since one of the two is a stranger.
 *
 * The cookie is two, one for the page and one for the callback, each sent to its own path only: cookies know no ports, so
 * another user's server on this machine may be shown one that belongs to a path. One of the two is of no use to it.
 */
import { type Confirmation, type SignInPage, SignInShared } from "@effect-authn/core/login/CallbackServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Page from "./callbackPage.ts"

/**
 * - `origin`: where this machine is reached, as the redirect URI has it: a cookie belongs to one name of a host.
 * - `callback`: the path of the redirect URI.
 */
interface Options {
  readonly url: string
  readonly confirmation: Confirmation | undefined
  readonly origin: string
  readonly callback: string
}

/** A page that is served. */
interface Served {
  /** Whose a request is that comes to the callback. */
  readonly admits: (request: IncomingMessage) => boolean
  /** Answers a request to the page; `false` where it is for something else. */
  readonly answer: (request: IncomingMessage, response: ServerResponse) => boolean
  /** The header by which a browser forgets the cookies. */
  readonly forget: { readonly "set-cookie": ReadonlyArray<string> }
  /** What whoever signs in sees of it. */
  readonly page: SignInPage
}

const newPath = (): string => `/sign-in/${randomUUID()}`

const newCookie = (name: string, path: string) => {
  const value = randomUUID()
  const attributes = `Path=${path}; HttpOnly; SameSite=Lax`
  return {
    set: `${name}=${value}; ${attributes}`,
    forget: `${name}=; ${attributes}; Max-Age=0`,
    isIn: ({ headers }: IncomingMessage): boolean => (headers.cookie ?? "").split(/;\s*/).includes(`${name}=${value}`)
  }
}

/** Makes the page. Nobody has opened it. */
export const make = ({ callback, confirmation, origin, url }: Options): Served => {
  const first = newPath()
  // Two sign-ins may be under way.
  const { port } = new URL(origin)
  const ofPage = newCookie(`authn-sign-in-${port}`, first)
  const ofCallback = newCookie(`authn-callback-${port}`, callback)
  const shared = Deferred.makeUnsafe<never, SignInShared>()
  let path = first
  let phase: "unopened" | "opened" | "shared" | "printed" = "unopened"

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
    if (phase === "opened" && !ofPage.isIn(request)) return share(response)
    if (isFirst) {
      phase = "opened"
      response.setHeader("set-cookie", [ofPage.set, ofCallback.set])
    }
    return request.method === "GET" ? show(response) : Page.goOn(response, url)
  }

  return {
    admits: (request) => phase === "printed" || (phase === "opened" && ofCallback.isIn(request)),
    answer: (request, response) => {
      if (request.url === path) serve(request, response)
      else if (request.url === first) Page.send(response, "moved")
      else return false
      return true
    },
    forget: { "set-cookie": [ofPage.forget, ofCallback.forget] },
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
