// An IAM with strict rotation for any number of families, which notes when it renewed which.
import { Effect } from "effect"
import * as Http from "node:http"

export interface Renewed {
  readonly at: number
  readonly family: number
}

export interface VaultIam {
  readonly issuer: string
  readonly renewals: ReadonlyArray<Renewed>
  /** Families that ended because a spent token came. */
  readonly lost: () => number
}

/** As long as the scope is open. A family is a number, and its tokens are numbered from 0. */
export const make = (options: { readonly latency: number; readonly life: number }) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly server: Http.Server; readonly iam: VaultIam }>((resume) => {
        const renewals: Array<Renewed> = []
        const newest = new Map<number, number>()
        const revoked = new Set<number>()
        const answer = (token: string) => {
          const [family = 0, index = 0] = token.slice(3).split(".").map(Number)
          if (revoked.has(family) || index !== (newest.get(family) ?? 0)) {
            revoked.add(family)
            return { status: 400, body: { error: "invalid_grant" } }
          }
          newest.set(family, index + 1)
          renewals.push({ at: Date.now(), family })
          return {
            status: 200,
            body: {
              access_token: accessToken(family, index + 1),
              refresh_token: refreshToken(family, index + 1),
              token_type: "Bearer",
              expires_in: options.life / 1000
            }
          }
        }
        const server = Http.createServer((request, response) => {
          const chunks: Array<Uint8Array> = []
          request.on("data", (chunk: Uint8Array) => chunks.push(chunk))
          request.once("end", () => {
            const { body, status } = answer(
              new URLSearchParams(Buffer.concat(chunks).toString()).get("refresh_token") ?? ""
            )
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
            iam: { issuer: `http://127.0.0.1:${port}`, renewals, lost: () => revoked.size }
          }))
        })
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.closeAllConnections()
          server.close()
        })
    ),
    ({ iam }) => iam
  )

export const refreshToken = (family: number, index: number): string => `rt-${family}.${index}`

// As long as a JWT of a real IAM.
export const accessToken = (family: number, index: number): string => `at-${family}.${index}.`.padEnd(860, "x")
