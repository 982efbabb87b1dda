/** An IAM with strict rotation: a refresh token that was spent ends its family, except in the grace. It keeps a ledger. */
import * as Effect from "effect/Effect"
import * as Http from "node:http"

/** One arrival of a refresh token: when, in epoch milliseconds, and from which client. */
export interface Presentation {
  readonly at: number
  /** When the client had written that it would, where it says so: a line can hold it for long. */
  readonly intendedAt: number
  readonly by: string
  /** Whether its answer has gone out whole: a client that gave up has none. */
  isAnswered: boolean
}

/** The header in which a client says when it wrote its intent, in epoch milliseconds. */
export const intendedAt = "x-intended-at"

/**
 * A family that ended because a spent token came: all presentations of that token, in the order in which clients had written
 * that they would, and how long after the first arrival the last one was.
 */
export interface Loss {
  readonly family: string
  readonly presentations: readonly [Presentation, ...ReadonlyArray<Presentation>]
  readonly after: number
}

export interface Ledger {
  /** Renewals that were answered with new tokens. */
  readonly renewals: number
  /** Requests that have arrived and have no answer yet. */
  readonly inFlight: number
  readonly lost: ReadonlyArray<Loss>
  /**
   * Tokens that came again, although neither the access token was over and the intent of the first time older than the lease, nor the grace was
   * on.
   */
  readonly twice: number
  /** Tokens that came again by those two rules. */
  readonly again: number
}

export interface StrictIam {
  readonly issuer: string
  readonly port: number
  readonly ledger: () => Ledger
  /** The requests of one client that have arrived and have no answer yet. */
  readonly inFlightOf: (client: string) => number
  /** Whether a refresh token has come at least once. */
  readonly hasSeen: (refreshToken: string) => boolean
  /** Whether a refresh token is the newest of a family that has not ended. */
  readonly isNewest: (refreshToken: string) => boolean
}

/** In the order of their intents: a line can hold the first one until the second has arrived. */
const inOrder = (
  presentations: readonly [Presentation, ...ReadonlyArray<Presentation>]
): readonly [Presentation, ...ReadonlyArray<Presentation>] => {
  const [first = presentations[0], ...later] = presentations.toSorted((one, other) => one.intendedAt - other.intendedAt)
  return [first, ...later]
}

/** The path at which a client presents its refresh tokens, so that the ledger can tell whose they are. */
export const pathOf = (client: string): string => `/token/${client}`

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
        const { families, grace, latency, lease, life } = options
        const newest = new Map(families.map((family) => [family, 0]))
        const lost = new Map<string, Omit<Loss, "family">>()
        const presented = new Map<string, Array<Presentation>>()
        const ends = new Map<string, number>()
        const endOf = (token: string) =>
          ends.get(token) ?? (token.endsWith(".0") ? options.endsAt(token.slice(0, -2)) : 0)
        const inFlight = new Map<string, number>()
        let renewals = 0

        const answer = (
          token: string,
          arrived: Presentation
        ): { readonly status: number; readonly body: object } => {
          const [family = "", at = ""] = token.split(".")
          const current = newest.get(family)
          const now = arrived.at
          const seen = presented.get(token) ?? []
          const [first = arrived, ...later] = seen
          presented.set(token, [...seen, arrived])
          const index = Number(at)
          const isRepeat = first !== arrived && index === (current ?? 0) - 1 && now - first.at <= grace
          if (current === undefined || lost.has(family) || (index !== current && !isRepeat)) {
            if (!lost.has(family)) {
              lost.set(family, {
                presentations: first === arrived ? [arrived] : inOrder([first, ...later, arrived]),
                after: now - first.at
              })
            }
            return { status: 400, body: { error: "invalid_grant", error_description: "the token was used before" } }
          }
          const next = index + 1
          if (!isRepeat) {
            newest.set(family, next)
            ends.set(`${family}.${next}`, now + life)
          }
          renewals += 1
          return {
            status: 200,
            body: {
              access_token: `at-${family}.${next}`,
              refresh_token: `${family}.${next}`,
              token_type: "Bearer",
              expires_in: life / 1000
            }
          }
        }

        const server = Http.createServer((request, response) => {
          const by = request.url?.slice(pathOf("").length) ?? ""
          const count = (change: number) => inFlight.set(by, (inFlight.get(by) ?? 0) + change)
          const chunks: Array<Uint8Array> = []
          count(1)
          response.once("close", () => count(-1))
          request.on("data", (chunk: Uint8Array) => chunks.push(chunk))
          request.once("end", () => {
            const form = new URLSearchParams(Buffer.concat(chunks).toString())
            const arrived: Presentation = {
              at: Date.now(),
              by,
              intendedAt: Number(request.headers[intendedAt] ?? Date.now()),
              isAnswered: false
            }
            const { body, status } = answer(form.get("refresh_token") ?? "", arrived)
            response.once("finish", () => {
              arrived.isAnswered = true
            })
            // spent at once, answered later: what dies in between has lost its answer
            setTimeout(() => {
              response.writeHead(status, { "content-type": "application/json" })
              response.end(JSON.stringify(body))
            }, latency)
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resume(Effect.succeed({
            server,
            port,
            issuer: `http://127.0.0.1:${port}`,
            inFlightOf: (client) => inFlight.get(client) ?? 0,
            hasSeen: (token) => presented.has(token),
            isNewest: (token) => {
              const [family = "", at = ""] = token.split(".")
              return !lost.has(family) && newest.get(family) === Number(at)
            },
            ledger: () => {
              const repeats = Array.from(presented).flatMap(([token, [one, ...others]]) => {
                const [first, ...later] = inOrder([one!, ...others])
                return later.map(({ at }) =>
                  Math.abs(at - first.at) <= grace || at >= Math.max(endOf(token), first.intendedAt + lease)
                )
              })
              return {
                renewals,
                inFlight: Array.from(inFlight.values()).reduce((sum, many) => sum + many, 0),
                lost: Array.from(lost, ([family, loss]) => ({ family, ...loss })),
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
    ({ hasSeen, inFlightOf, isNewest, issuer, ledger, port }): StrictIam => ({
      hasSeen,
      inFlightOf,
      isNewest,
      issuer,
      ledger,
      port
    })
  )
