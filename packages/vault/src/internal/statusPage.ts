/** How the page for operators looks: one document without a script, that reads in light and dark. */
import * as DateTime from "effect/DateTime"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import type * as Vault from "../Vault.ts"

export interface Point {
  readonly at: number
  readonly due: number
  readonly oldest: number
}

export interface Facts {
  readonly now: DateTime.Utc
  readonly health: Option.Option<Vault.Health>
  readonly states: Option.Option<{
    readonly states: ReadonlyMap<string, ReadonlyMap<string, number>>
    readonly count: number
    readonly isWhole: boolean
  }>
  readonly points: ReadonlyArray<Point>
  readonly failures: ReadonlyArray<Vault.Event>
  readonly issuers: ReadonlyArray<Vault.IssuerHealth>
}

export const guarded = HttpServerResponse.setHeaders({
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
})

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)

const style = `:root { color-scheme: light dark; --ink: #1d2733; --soft: #5d6b7a; --line: #dde3ea; --ground: #f6f8fa;
  --card: #fff; --blue: #2f6fdd; --red: #c0392b; --amber: #a86400; --green: #1e7d46 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --soft: #98a6b5; --line: #303b47; --ground: #12171d;
  --card: #1a2129; --blue: #6ea0ff; --red: #ff8a7a; --amber: #e5b25d; --green: #6fcf97 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; margin-bottom: 1.5rem }
h1 { font-size: 1.35rem; margin: 0 } h2 { font-size: 1rem; margin: 0 0 .75rem }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1.1rem 1.25rem; margin-bottom: 1rem; overflow-x: auto }
.soft { color: var(--soft) } .number { text-align: right; font-variant-numeric: tabular-nums }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 1rem }
.tiles b { display: block; font-size: 1.6rem; font-weight: 600; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100%; min-width: 38rem } td, th { padding: .4rem .75rem .4rem 0; text-align: left; vertical-align: top }
td + td, th + th { padding-left: .5rem } tr + tr td { border-top: 1px solid var(--line) } th { font-weight: 500; color: var(--soft); font-size: .85rem }
td.number, th.number { text-align: right } td { overflow-wrap: break-word; word-break: break-word; min-width: 6.5rem }
.good { color: var(--green) } .bad { color: var(--red) } .middling { color: var(--amber) }
svg { display: block; width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: var(--soft) }`

const document = (title: string, body: string, refresh = ""): string =>
  `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
${refresh}<title>${escaped(title)}</title>
<style>${style}</style>
<body><main>
${body}
</main>
`

/** A page that says one thing. */
export const note = (status: number, title: string, text: string) =>
  guarded(HttpServerResponse.setStatus(
    HttpServerResponse.html(document(title, `<h1>${escaped(title)}</h1><p>${escaped(text)}</p>`)),
    status
  ))

const count = (number: number): string => Math.round(number).toLocaleString("en")

/** Seconds in the two greatest units. */
const span = (seconds: number): string => {
  const whole = Math.max(0, Math.round(seconds))
  const units = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]] as const
  const parts = units.flatMap(([name, size], index) => {
    const above = units[index - 1]?.[1] ?? Number.POSITIVE_INFINITY
    const number = Math.floor((whole % above) / size)
    return number > 0 ? [`${number} ${name}`] : []
  })
  return parts.slice(0, 2).join(" ") || "0 s"
}

const ago = (at: DateTime.Utc, now: DateTime.Utc): string =>
  `${span((DateTime.toEpochMillis(now) - DateTime.toEpochMillis(at)) / 1000)} ago`

const time = (at: DateTime.Utc, now: DateTime.Utc): string =>
  `<time datetime="${DateTime.formatIso(at)}" title="${DateTime.formatIso(at)}">${ago(at, now)}</time>`

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>, numbers: number = 0): string =>
  `<table><tr>${
    head.map((cell, index) => `<th${index >= head.length - numbers ? ` class="number"` : ""}>${cell}</th>`).join("")
  }</tr>${
    rows.map((row) =>
      `<tr>${
        row.map((cell, index) => `<td${index >= row.length - numbers ? ` class="number"` : ""}>${cell}</td>`).join("")
      }</tr>`
    ).join("")
  }</table>`

/** The least of 1, 2, 5, 10, … that is not under a number. */
const rounded = (number: number): number => {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, number)))
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= number) ?? 10 * power
}

const width = 900
const height = 220
const left = 64
const bottom = 26
const top = 12

/** What was due, over time: a line, its ground, and the numbers that one needs to read it. */
const plot = (points: ReadonlyArray<Point>): string => {
  const first = points[0]
  const last = points.at(-1)
  if (first === undefined || last === undefined || points.length < 2) {
    return `<p class="soft">There is a picture when this process has run for a minute.</p>`
  }
  const most = rounded(Math.max(1, ...points.map(({ due }) => due)))
  const duration = Math.max(1, last.at - first.at)
  const x = (at: number) => left + ((at - first.at) / duration) * (width - left - 8)
  const y = (due: number) => top + (1 - due / most) * (height - top - bottom)
  const line = points.map(({ at, due }) => `${x(at).toFixed(1)},${y(due).toFixed(1)}`).join(" ")
  const rules = [0, 0.5, 1].map((share) => {
    const height = y(most * share).toFixed(1)
    return `<line x1="${left}" x2="${width - 8}" y1="${height}" y2="${height}" stroke="var(--line)"/>` +
      `<text x="${left - 8}" y="${height}" dy=".35em" text-anchor="end">${count(most * share)}</text>`
  }).join("")
  const times = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = first.at + duration * share
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle"
    const clock = DateTime.formatIso(DateTime.makeUnsafe(at)).slice(11, 16)
    return `<text x="${x(at).toFixed(1)}" y="${height - 6}" text-anchor="${anchor}">${clock}</text>`
  }).join("")
  const summary = `From ${count(first.due)} to ${count(last.due)} due sessions in ${span(duration / 1000)}, at most ${
    count(Math.max(...points.map(({ due }) => due)))
  }`
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${summary}"><title>${summary}</title>${rules}${times}` +
    `<polygon points="${x(first.at).toFixed(1)},${y(0)} ${line} ${x(last.at).toFixed(1)},${
      y(0)
    }" fill="var(--blue)" opacity=".14"/>` +
    `<polyline points="${line}" fill="none" stroke="var(--blue)" stroke-width="2" stroke-linejoin="round"/></svg>`
}

const classes = { answers: "good", pauses: "bad", "is tried": "middling" } as const
const kinds = { dead: "bad", unsaved: "middling", recovered: "good" } as const
const states = ["alive", "renewing", "ended", "unreadable"]

export const render = ({ failures, health, issuers, now, points, states: found }: Facts) => {
  const tiles = Option.match(health, {
    onNone: () => `<p class="bad">The storage does not answer.</p>`,
    onSome: ({ due, oldest, open }) =>
      `<div class="tiles"><div><b>${count(due)}</b><span class="soft">due</span></div><div><b>${
        Option.match(oldest, {
          onNone: () => "–",
          onSome: (at) => span((DateTime.toEpochMillis(now) - DateTime.toEpochMillis(at)) / 1000)
        })
      }</b><span class="soft">waits the longest</span></div><div><b>${
        count(open)
      }</b><span class="soft">open in this process</span></div></div>`
  })
  const iams = table(
    ["IAM", "client", "now", "last failure"],
    issuers.map(({ clientId, issuer, lastFailure, state, until }) => [
      escaped(issuer),
      escaped(clientId),
      `<span class="${classes[state]}">${state}</span>${
        Option.match(until, {
          onNone: () => "",
          onSome: (at) => ` for ${span((DateTime.toEpochMillis(at) - DateTime.toEpochMillis(now)) / 1000)}`
        })
      }`,
      Option.match(lastFailure, {
        onNone: () => `<span class="soft">none</span>`,
        onSome: ({ at, detail }) => `${time(at, now)}: ${escaped(detail)}`
      })
    ])
  )
  const sessions = Option.match(found, {
    onNone: () => `<p class="bad">They cannot be read now.</p>`,
    onSome: ({ count: all, isWhole, states: byIssuer }) =>
      (all === 0 ? `<p class="soft">There are none.</p>` : table(
        ["IAM", ...states],
        Array.from(byIssuer, ([issuer, ofIssuer]) => [
          escaped(issuer),
          ...states.map((state) => {
            const number = ofIssuer.get(state) ?? 0
            return isWhole ? count(number) : `${(100 * number / all).toFixed(1)} %`
          })
        ]),
        states.length
      )) + (isWhole ? "" : `<p class="soft">Of any ${count(all)} sessions; there are more.</p>`)
  })
  const events = failures.length === 0 ? `<p class="soft">Nothing happened to a session in this process.</p>` : table(
    ["when", "what", "account", "why"],
    failures.map(({ at, cause, key, kind }) => [
      time(at, now),
      `<span class="${kinds[kind]}">${kind}</span>`,
      `${escaped(key.account)}<br><span class="soft">${escaped(key.issuer)}</span>`,
      escaped(cause)
    ])
  )
  return guarded(HttpServerResponse.html(document(
    "Vault",
    `<header><h1>Vault</h1><span class="soft">as of ${
      DateTime.formatIso(now).slice(0, 19).replace("T", " ")
    } UTC</span></header>
<section>${tiles}</section>
<section><h2>Due sessions, by the time in UTC</h2>${plot(points)}</section>
<section><h2>IAMs</h2>${iams}</section>
<section><h2>Sessions by state</h2>${sessions}</section>
<section><h2>What happened</h2>${events}</section>`,
    `<meta http-equiv="refresh" content="15">\n`
  )))
}
