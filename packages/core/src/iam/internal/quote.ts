/** What others wrote, in one of our messages: short, on one line, and without a secret. */
import * as Redacted from "effect/Redacted"

/**
 * What others wrote, fit for one of our messages: one line of at most 200 characters, without `secrets` and without
 * anything that looks like a JWT.
 *
 * **Example** (What a server echoed)
 *
 * ```ts import.meta.vitest
 * import { IamHttp } from "@effect-authn/core"
 * import { Redacted } from "effect"
 *
 * const said = IamHttp.quote("wrong password:\nhunter2", [Redacted.make("hunter2")])
 * said.includes("hunter2") // => false
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export const quote = (text: string, secrets: ReadonlyArray<Redacted.Redacted> = []): string => safe(text, 200, secrets)

/** The same, of at most `limit` characters. */
export const safe = (text: string, limit: number, secrets: ReadonlyArray<Redacted.Redacted> = []): string => {
  const forms = secrets.map(Redacted.value).filter((secret) => secret !== "")
    // A server may echo the body as it came, or an address.
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)])
    .flatMap((secret) => [secret, new URLSearchParams([["", secret]]).toString().slice(1)])
    .flatMap((secret) => [secret, encodeURIComponent(secret.toWellFormed())])
  const scrubbed = forms.reduce(without, text)
    .replace(/\beyJ[\w-]{8,}(\.[\w-]*)*/g, "…")
  const line = scrubbed.replace(/[\s\p{C}]+/gu, " ").trim()
  return line.length > limit ? `${line.slice(0, limit - 1).toWellFormed()}…` : line
}

// A short secret is found in half of all words: it counts only where it stands for itself.
const without = (text: string, secret: string): string =>
  secret.length < 8
    ? text.replaceAll(
      new RegExp(`(?<![\\p{L}\\p{N}_])${secret.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&")}(?![\\p{L}\\p{N}_])`, "gu"),
      "…"
    )
    : text.replaceAll(secret, "…")
