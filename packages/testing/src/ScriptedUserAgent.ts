/**
 * A web browser that knows what to type: it follows redirects, keeps cookies, and submits every form it meets.
 *
 * @since 0.1.0
 */
import { Browser } from "@effect-authn/core/login/Browser"
import * as Effect from "effect/Effect"
import type { Cookie } from "effect/http/Cookies"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"

/**
 * Where a visit ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly url: string
  readonly status: number
  readonly html: string
}

/**
 * - `answers`: what is typed into the fields of forms, by their names; a field that is not named keeps its value.
 * - `stopAt`: an address that is not opened when a redirect leads there; the visit ends with it, and status 0.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly answers?: { readonly [field: string]: string }
  readonly stopAt?: (url: URL) => boolean
}

const mostSteps = 25

/**
 * Makes a user agent with an empty cookie jar. Its `visit` ends at the first page that has no form, or that is an error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): {
  readonly visit: (url: string, options?: Options) => Effect.Effect<Page, HttpClientError, HttpClient.HttpClient>
} => {
  // By host, path and name, since a provider uses one name at several paths.
  const jar = new Map<string, { readonly host: string; readonly path: string; readonly cookie: Cookie }>()

  const request = Effect.fnUntraced(function*(url: URL, form?: Record<string, string>) {
    const cookies = [...jar.values()].filter(({ host, path }) =>
      host === url.host && (url.pathname === path || url.pathname.startsWith(path.endsWith("/") ? path : `${path}/`))
    ).map(({ cookie }) => `${cookie.name}=${cookie.valueEncoded}`).join("; ")
    const base = form === undefined
      ? HttpClientRequest.get(url)
      : HttpClientRequest.bodyUrlParams(HttpClientRequest.post(url), form)
    const response = yield* HttpClient.execute(
      HttpClientRequest.setHeaders(base, { accept: "text/html", ...(cookies === "" ? {} : { cookie: cookies }) })
    )
    for (const cookie of Object.values(response.cookies.cookies)) {
      const path = cookie.options?.path ?? "/"
      const key = `${url.host} ${path} ${cookie.name}`
      if (cookie.value === "" || cookie.options?.expires?.getTime() === 0) jar.delete(key)
      else jar.set(key, { host: url.host, path, cookie })
    }
    return { status: response.status, location: response.headers["location"], html: yield* response.text }
  })

  const visit = Effect.fnUntraced(
    function*(address: string, options?: Options) {
      let url = new URL(address)
      let response = yield* request(url)
      for (let step = 0; step < mostSteps; step++) {
        if (response.location !== undefined && response.status >= 300 && response.status < 400) {
          url = new URL(response.location, url)
          if (options?.stopAt?.(url) === true) return { url: url.href, status: 0, html: "" }
          response = yield* request(url)
          continue
        }
        const form = response.status < 400 ? formIn(response.html, options?.answers ?? {}) : undefined
        if (form === undefined) break
        url = new URL(form.action, url)
        response = yield* request(url, form.fields)
      }
      return { url: url.href, status: response.status, html: response.html }
    },
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" })
  )

  return { visit }
}

/**
 * The browser of a person who signs in as `answers` say, as soon as a page opens.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerBrowser = (answers: { readonly [field: string]: string }): Layer.Layer<Browser> =>
  Layer.effect(
    Browser,
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const http = yield* HttpClient.HttpClient
      return Browser.of({
        obstacle: Effect.succeedNone,
        open: (url) =>
          make().visit(url, { answers }).pipe(
            Effect.provideService(HttpClient.HttpClient, http),
            Effect.ignore({ log: true }),
            Effect.forkIn(scope),
            Effect.asVoid
          )
      })
    })
  ).pipe(Layer.provide(FetchHttpClient.layer))

const attribute = (tag: string, name: string): string | undefined =>
  new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1]?.replaceAll("&amp;", "&")

const formIn = (html: string, answers: { readonly [field: string]: string }) => {
  const tag = /<form[^>]*>/.exec(html)?.[0]
  const action = tag === undefined ? undefined : attribute(tag, "action")
  if (action === undefined) return undefined
  const fields: Record<string, string> = {}
  for (const [input] of html.matchAll(/<(?:input|button)[^>]*>/g)) {
    const name = attribute(input, "name")
    // The button that says no is pressed only on request.
    if (name === undefined || (name === "abort" && answers["abort"] === undefined)) continue
    const value = answers[name] ?? attribute(input, "value")
    if (value !== undefined) fields[name] = value
  }
  return { action, fields }
}
