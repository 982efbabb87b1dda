/** The pages that a browser sees around a login. None holds a word of what came with the request. */
import type { Confirmation } from "@effect-authn/core/login/CallbackServer"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import type { ServerResponse } from "node:http"

type Name =
  | "success"
  | "failure"
  | "denied"
  | "again"
  | "shared"
  | "moved"
  | "otherBrowser"
  | "stranger"
  | "method"
  | "unknown"

interface Page {
  readonly status: number
  readonly title: string
  readonly text: string
}

const pages: { readonly [name in Name]: Page } = {
  success: {
    status: 200,
    title: "You are signed in",
    text: "You can close this page and go back to the program that you started."
  },
  failure: {
    status: 400,
    title: "Signing in did not work",
    text: "The program that you started says why. Go back to it and try again."
  },
  denied: {
    status: 403,
    title: "Signing in was refused",
    text: "You, or the server, refused to let the program sign in. Go back to it to try again."
  },
  again: {
    status: 409,
    title: "This sign-in is already being finished",
    text: "Look at the other page, or at the program that you started."
  },
  shared: {
    status: 403,
    title: "This sign-in was stopped",
    text: "Its page was opened a second time, by a browser that had not opened it first. If that was not you, it was " +
      "somebody else on this machine. Go back to the program that you started, and begin again."
  },
  moved: {
    status: 410,
    title: "This sign-in begins elsewhere",
    text: "The program that you started shows another address by now. Open that one."
  },
  otherBrowser: {
    status: 403,
    title: "This browser did not begin the sign-in",
    text:
      "Go on in the browser that the program opened, or begin again. A browser that keeps no cookies cannot be used."
  },
  stranger: {
    status: 400,
    title: "This does not belong to a sign-in that is under way",
    text: "If you were signing in, go back to the program that you started and begin again."
  },
  method: { status: 405, title: "Not like this", text: "A sign-in ends here by following a link." },
  unknown: { status: 404, title: "Nothing is here", text: "This is the end point of a sign-in, and nothing else." }
}

// The address has the code, or the token: it must not stay in the address bar.
const script = `history.replaceState(null, "", "/")`
const style =
  "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto 0;padding:0 1.5rem}h1{font-size:1.5rem}"
const sourceOf = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

const headers = {
  "cache-control": "no-store",
  connection: "close",
  "content-security-policy": `default-src 'none'; style-src ${sourceOf(style)}; script-src ${
    sourceOf(script)
  }; frame-ancestors 'none'`,
  "content-type": "text/html; charset=utf-8",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff"
}

const html = ({ text, title }: Page): string =>
  `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${style}</style>
<h1>${title}</h1>
<p>${text}</p>
<script>${script}</script>
`

const escaped = (text: string): string =>
  text.replace(/[\p{C}]+/gu, " ").replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/** Answers with a page whose button alone leads on. It has no script: what it says is there without one. */
export const sendConfirmation = (response: ServerResponse, { button, facts, text, title }: Confirmation): void => {
  response.writeHead(200, headers)
  response.end(
    `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>${style}</style>
<h1>${escaped(title)}</h1>
<p>${escaped(text)}</p>
<dl>
${facts.map(([name, value]) => `<dt>${escaped(name)}</dt><dd><strong>${escaped(value)}</strong></dd>`).join("\n")}
</dl>
<form method="post" action=""><button>${escaped(button)}</button></form>
`
  )
}

/** Sends the browser on, after the button. */
export const goOn = (response: ServerResponse, url: string): void => {
  const { "content-type": _type, ...rest } = headers
  response.writeHead(303, { ...rest, location: url })
  response.end()
}

/** Answers with a page. */
export const send = (response: ServerResponse, name: Name): void => {
  const page = pages[name]
  response.writeHead(page.status, name === "method" ? { ...headers, allow: "GET" } : headers)
  response.end(html(page))
}

/** Answers with a page, and returns when it is on its way, or when there is nobody left to get it. */
export const sent = (
  response: ServerResponse,
  name: Name,
  more: { readonly [header: string]: ReadonlyArray<string> } = {}
): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (response.destroyed) return resume(Effect.void)
    response.once("close", () => resume(Effect.void))
    for (const [header, value] of Object.entries(more)) response.setHeader(header, value)
    send(response, name)
  }).pipe(Effect.timeoutOption("2 seconds"), Effect.asVoid)
