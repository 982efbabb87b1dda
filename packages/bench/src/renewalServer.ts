// An OAuth token endpoint on bare node:http, for us and for the peers: it imports nothing of either.
import { Effect } from "effect"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"

export interface TokenServer {
  readonly origin: string
  /** How the endpoint answers from now on. */
  readonly set: (behaviour: Partial<Behaviour>) => void
  /** A refresh token of a new family. */
  readonly grant: () => string
  /**
   * How often it was asked since the last `reset`, how many of the answers were tokens, how many refusals, and how many families
   * are revoked.
   */
  readonly counts: () => {
    readonly asked: number
    readonly answered: number
    readonly refused: number
    readonly lost: number
  }
  /** Starts to count from 0, and answers at once again. */
  readonly reset: () => void
}

interface Behaviour {
  readonly latencyMillis: number
  readonly status: 200 | 500
  /** What is left of a new token's life, in seconds. */
  readonly expiresIn: number
}

const initial: Behaviour = { latencyMillis: 0, status: 200, expiresIn: 3600 }

const body = (request: IncomingMessage, use: (body: URLSearchParams) => void) => {
  let text = ""
  request.setEncoding("utf8").on("data", (chunk: string) => text += chunk).on(
    "end",
    () => use(new URLSearchParams(text))
  )
}

const answer = (response: ServerResponse, status: number, document: object) =>
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" })
    .end(JSON.stringify(document))

// Only for the peer that has no account without one.
const idToken = (subject: string) =>
  [
    { alg: "none", typ: "JWT" },
    { iss: "https://iam.invalid", aud: "bench", sub: subject, iat: 1_760_000_000, exp: 4_000_000_000, name: "Ada" }
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".") + "."

/** Refresh tokens rotate strictly: one that is seen a second time revokes its whole family. */
export const tokenServer = Effect.gen(function*() {
  let behaviour = initial
  let issued = 0
  let asked = 0
  let answered = 0
  let refused = 0
  const families = new Map<string, { newest: string; isRevoked: boolean }>()
  const token = (kind: string) => `${kind}.${`${issued += 1}`.padStart(32, "0")}`

  const renew = (presented: string): object | undefined => {
    const [family = ""] = presented.split("/")
    const known = families.get(family)
    if (known === undefined || known.isRevoked) return undefined
    if (known.newest !== presented) {
      known.isRevoked = true
      return undefined
    }
    known.newest = `${family}/${token("refresh")}`
    return {
      access_token: token("access"),
      token_type: "Bearer",
      expires_in: behaviour.expiresIn,
      refresh_token: known.newest,
      scope: "api"
    }
  }

  const respond = (response: ServerResponse, form: URLSearchParams) => {
    if (behaviour.status === 500) return answer(response, 500, { error: "server_error" })
    const document = renew(form.get("refresh_token") ?? "")
    if (document === undefined) {
      refused += 1
      return answer(response, 400, { error: "invalid_grant", error_description: "spent, or revoked" })
    }
    answered += 1
    const isOpenId = (form.get("scope") ?? "").includes("openid")
    return answer(
      response,
      200,
      isOpenId ? { ...document, id_token: idToken(form.get("refresh_token")!.split("/")[0]!) } : document
    )
  }

  const server = createServer((request, response) => {
    asked += 1
    body(request, (form) => {
      if (behaviour.latencyMillis === 0) respond(response, form)
      else setTimeout(() => respond(response, form), behaviour.latencyMillis)
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )
  const address = server.address()
  const running: TokenServer = {
    origin: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    set: (changed) => {
      behaviour = { ...behaviour, ...changed }
    },
    grant: () => {
      const family = token("family")
      const newest = `${family}/${token("refresh")}`
      families.set(family, { newest, isRevoked: false })
      return newest
    },
    counts: () => ({
      asked,
      answered,
      refused,
      lost: Array.from(families.values()).filter(({ isRevoked }) => isRevoked).length
    }),
    reset: () => {
      behaviour = initial
      asked = 0
      answered = 0
      refused = 0
    }
  }
  return running
})
