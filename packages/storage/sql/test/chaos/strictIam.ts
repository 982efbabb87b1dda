/** An IAM with strict rotation: a refresh token that was spent ends its family, except in the grace. It keeps a ledger. */
import * as Effect from "effect/Effect"
import * as Http from "node:http"

/** What the IAM saw of one refresh token. */
interface Presented {
  /** When, in epoch milliseconds, in the order of the presentations. */
  readonly at: Array<number>
  /** The access token that it had been issued with ended then. */
  readonly accessEndsAt: number
}

export interface Ledger {
  /** Renewals that were answered with new tokens. */
  readonly renewals: number
  /** Requests that have arrived and have no answer yet. */
  readonly inFlight: number
  /** Families that ended because a spent token came. */
  readonly lost: number
  /**
   * Tokens that came again, although neither the access token was over for as long as the lease lasts after the first time,
   * nor the grace was on.
   */
  readonly twice: number
  /** Tokens that came again by those two rules. */
  readonly again: number
}

export interface StrictIam {
  readonly issuer: string
  readonly ledger: () => Ledger
}

/** Starts it on a free port of loopback, until the scope closes. Times are in milliseconds. */
export const make = (options: {
  readonly families: ReadonlyArray<string>
  readonly life: number
  readonly latency: number
  readonly grace: number
  readonly lease: number
  /** When the access token that a family starts with ends. */
  readonly endsAt: (family: string) => number
}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly server: Http.Server } & StrictIam>((resume) => {
        const newest = new Map(options.families.map((family) => [family, 0]))
        const revoked = new Set<string>()
        const spentAt = new Map<string, number>()
        const presented = new Map<string, Presented>()
        const ends = new Map(options.families.map((family) => [`${family}.0`, options.endsAt(family)]))
        let renewals = 0
        let inFlight = 0

        const answer = (token: string): { readonly status: number; readonly body: object } => {
          const [family = "", at = ""] = token.split(".")
          const current = newest.get(family)
          const now = Date.now()
          const seen = presented.get(token) ?? { at: [], accessEndsAt: ends.get(token) ?? 0 }
          seen.at.push(now)
          presented.set(token, seen)
          const index = Number(at)
          const spent = spentAt.get(token)
          const isRepeat = spent !== undefined && index === (current ?? 0) - 1 && now - spent <= options.grace
          if (current === undefined || revoked.has(family) || (index !== current && !isRepeat)) {
            revoked.add(family)
            return { status: 400, body: { error: "invalid_grant", error_description: "the token was used before" } }
          }
          const next = index + 1
          if (!isRepeat) {
            newest.set(family, next)
            spentAt.set(token, now)
            ends.set(`${family}.${next}`, now + options.life)
          }
          renewals += 1
          return {
            status: 200,
            body: {
              access_token: `at-${family}.${next}`,
              refresh_token: `${family}.${next}`,
              token_type: "Bearer",
              expires_in: options.life / 1000
            }
          }
        }

        const server = Http.createServer((request, response) => {
          const chunks: Array<Uint8Array> = []
          inFlight += 1
          response.once("close", () => {
            inFlight -= 1
          })
          request.on("data", (chunk: Uint8Array) => chunks.push(chunk))
          request.once("end", () => {
            const form = new URLSearchParams(Buffer.concat(chunks).toString())
            const { body, status } = answer(form.get("refresh_token") ?? "")
            // spent at once, answered later: what dies in between has lost its answer
            setTimeout(() => {
              response.writeHead(status, { "content-type": "application/json" })
              response.end(JSON.stringify(body))
            }, options.latency)
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resume(Effect.succeed({
            server,
            issuer: `http://127.0.0.1:${port}`,
            ledger: () => {
              const repeats = Array.from(presented.values()).flatMap(({ accessEndsAt, at }) => {
                const first = at[0] ?? 0
                return at.slice(1).map((time) =>
                  time - first <= options.grace || time >= Math.max(accessEndsAt, first + options.lease)
                )
              })
              return {
                renewals,
                inFlight,
                lost: revoked.size,
                twice: repeats.filter((isAllowed) => !isAllowed).length,
                again: repeats.filter((isAllowed) => isAllowed).length
              }
            }
          }))
        })
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.closeAllConnections()
          server.close()
        })
    ),
    ({ issuer, ledger }): StrictIam => ({ issuer, ledger })
  )
