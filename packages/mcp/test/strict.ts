/**
 * A server of MCP with its authorization server, on this machine: registration, PKCE, rotation, and a family that is revoked
 * as soon as an old refresh token is seen. It says yes to whoever asks, and writes down what was asked.
 */
import { createHash, randomUUID } from "node:crypto"
import * as http from "node:http"
import type { AddressInfo } from "node:net"

export type Handler = (request: http.IncomingMessage, response: http.ServerResponse, body: string) => void

export interface Strict {
  readonly url: string
  readonly issuer: string
  /** What was asked, in order: `register`, `authorize`, `code`, `refresh`, `refresh refused`, `machine`, `revoke`. */
  readonly ledger: Array<string>
  readonly authorizations: Array<URLSearchParams>
  /** Answers of one's own, by path. */
  readonly routes: Map<string, Handler>
  /** What the resource answers to whoever has a good token. */
  resource: Handler
  /** The scopes that a token must have. */
  required: ReadonlyArray<string>
  lifetime: number
  /** Whether a refresh token is answered again after it was spent, as authorization servers with a grace do. */
  grace: boolean
  readonly tokens: Map<
    string,
    { readonly scopes: ReadonlyArray<string>; readonly until: number; readonly family: string }
  >
  readonly clients: Set<string>
  readonly count: (what: string) => number
  readonly close: () => Promise<void>
}

const json = (response: http.ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) => {
  response.writeHead(status, { "content-type": "application/json", ...headers })
  response.end(JSON.stringify(body))
}

/** Answers JSON-RPC as a server of 2025-11-25 with one tool does. */
export const echo: Handler = (request, response, body) => {
  if (request.method !== "POST") return json(response, 405, {})
  const { id, method } = JSON.parse(body)
  if (id === undefined) return void response.writeHead(202).end()
  const answer = (result: unknown) => json(response, 200, { jsonrpc: "2.0", id, result })
  switch (method) {
    case "initialize":
      return answer({
        protocolVersion: "2025-11-25",
        capabilities: { tools: {} },
        serverInfo: { name: "strict", version: "1" }
      })
    case "tools/list":
      return answer({ tools: [{ name: "echo", inputSchema: { type: "object" } }] })
    case "tools/call":
      return answer({ content: [{ type: "text", text: "echoed" }] })
    default:
      return answer({})
  }
}

export const start = async (): Promise<Strict> => {
  const codes = new Map<string, { readonly challenge: string; readonly scopes: ReadonlyArray<string> }>()
  const refreshTokens = new Map<string, { family: string; scopes: ReadonlyArray<string>; isSpent: boolean }>()
  const revoked = new Set<string>()
  const server = http.createServer((request, response) => {
    let body = ""
    request.on("data", (chunk) => (body += chunk))
    request.on("end", () => {
      const url = new URL(request.url ?? "/", strict.issuer)
      const own = strict.routes.get(url.pathname)
      if (own !== undefined) return own(request, response, body)
      answer(url, request, response, body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const issue = (family: string, scopes: ReadonlyArray<string>) => {
    const [access_token, refresh_token] = [`at-${randomUUID()}`, `rt-${randomUUID()}`]
    strict.tokens.set(access_token, { scopes, family, until: Date.now() + strict.lifetime * 1000 })
    refreshTokens.set(refresh_token, { family, scopes, isSpent: false })
    return { access_token, refresh_token, token_type: "Bearer", expires_in: strict.lifetime, scope: scopes.join(" ") }
  }

  const token = (response: http.ServerResponse, form: URLSearchParams) => {
    const refuse = (error: string, status = 400) => json(response, status, { error })
    const client = form.get("client_id") ?? ""
    switch (form.get("grant_type")) {
      case "authorization_code": {
        const code = codes.get(form.get("code") ?? "")
        codes.delete(form.get("code") ?? "")
        const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url")
        if (code?.challenge !== challenge) return refuse("invalid_grant")
        strict.ledger.push("code")
        return json(response, 200, issue(randomUUID(), code.scopes))
      }
      case "refresh_token": {
        if (client !== "" && !strict.clients.has(client)) {
          strict.ledger.push("refresh refused")
          return refuse("invalid_client", 401)
        }
        const held = refreshTokens.get(form.get("refresh_token") ?? "")
        if (held === undefined || (held.isSpent && !strict.grace) || revoked.has(held.family)) {
          strict.ledger.push("refresh refused")
          if (held !== undefined) revoked.add(held.family)
          return refuse("invalid_grant")
        }
        held.isSpent = true
        strict.ledger.push("refresh")
        return json(response, 200, issue(held.family, held.scopes))
      }
      default:
        strict.ledger.push("machine")
        return json(response, 200, {
          ...issue(randomUUID(), (form.get("scope") ?? "").split(" ")),
          refresh_token: undefined
        })
    }
  }

  const answer = (url: URL, request: http.IncomingMessage, response: http.ServerResponse, body: string) => {
    const form = new URLSearchParams(body)
    switch (url.pathname) {
      case "/.well-known/oauth-protected-resource/mcp":
        return json(response, 200, { resource: strict.url, authorization_servers: [issuer] })
      case "/.well-known/oauth-authorization-server":
        return json(response, 200, {
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          registration_endpoint: `${issuer}/register`,
          response_types_supported: ["code"],
          revocation_endpoint: `${issuer}/revoke`,
          code_challenge_methods_supported: ["S256"],
          authorization_response_iss_parameter_supported: true
        })
      case "/register": {
        const client_id = `client-${randomUUID()}`
        strict.clients.add(client_id)
        strict.ledger.push("register")
        return json(response, 201, { ...JSON.parse(body), client_id })
      }
      case "/authorize": {
        strict.ledger.push("authorize")
        strict.authorizations.push(url.searchParams)
        const redirect = new URL(url.searchParams.get("redirect_uri") ?? "")
        const code = randomUUID()
        codes.set(code, {
          challenge: url.searchParams.get("code_challenge") ?? "",
          scopes: (url.searchParams.get("scope") ?? "").split(" ").filter(Boolean)
        })
        redirect.searchParams.set("code", code)
        redirect.searchParams.set("state", url.searchParams.get("state") ?? "")
        redirect.searchParams.set("iss", issuer)
        return void response.writeHead(302, { location: redirect.href }).end()
      }
      case "/token":
        return token(response, form)
      case "/revoke":
        strict.ledger.push("revoke")
        return json(response, 200, {})
      case "/mcp": {
        const metadata = `resource_metadata="${issuer}/.well-known/oauth-protected-resource/mcp"`
        const held = strict.tokens.get((request.headers.authorization ?? "").replace(/^Bearer /, ""))
        if (held === undefined || held.until < Date.now() || revoked.has(held.family)) {
          const scope = strict.required.length === 0 ? "" : `, scope="${strict.required.join(" ")}"`
          return json(response, 401, {}, { "www-authenticate": `Bearer ${metadata}${scope}` })
        }
        if (!strict.required.every((scope) => held.scopes.includes(scope))) {
          return json(response, 403, {}, {
            "www-authenticate": `Bearer error="insufficient_scope", scope="${strict.required.join(" ")}", ${metadata}`
          })
        }
        return strict.resource(request, response, body)
      }
      default:
        return json(response, 404, {})
    }
  }

  const strict: Strict = {
    url: `${issuer}/mcp`,
    issuer,
    ledger: [],
    authorizations: [],
    routes: new Map(),
    resource: echo,
    required: [],
    lifetime: 3600,
    grace: false,
    tokens: new Map(),
    clients: new Set(),
    count: (what) => strict.ledger.filter((entry) => entry === what).length,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
  return strict
}

export const answerJson = json
