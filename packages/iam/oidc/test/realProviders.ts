/** Servers of OAuth 2 that others wrote, over a store that outlives them, with one person who says yes. */
import OAuth2Server from "@node-oauth/oauth2-server"
import { Effect, type Scope } from "effect"
import { createServer, type IncomingMessage } from "node:http"
import { registerHooks } from "node:module"

type Handler = (request: Request) => Promise<Response>

/** One kind of server; each call of `start` is a start of it over the same store. */
export interface Kind {
  readonly name: string
  /** Makes a store with the client in it, and what starts the server over it. */
  readonly open: (origin: string) => Promise<{ readonly clientId: string; readonly start: () => Promise<Handler> }>
  readonly farewell: "Revoked" | "NotRevoked"
}

export interface Running {
  readonly issuer: string
  readonly clientId: string
  /** The refresh tokens that were sent to the token endpoint, in their order. */
  readonly renewals: ReadonlyArray<string>
  /** Answers to renewals wait for as many milliseconds. */
  readonly delay: (milliseconds: number) => void
  /** Ends the server, and starts another over the same store. */
  readonly restart: Effect.Effect<void>
}

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks).toString()
}

const headersOf = (request: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    Object.entries(request.headers).flatMap(([name, value]) => typeof value === "string" ? [[name, value]] : [])
  )

export const run = (kind: Kind): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const renewals: Array<string> = []
        let wait = 0
        let handle: Handler = () => Promise.resolve(new Response(null, { status: 503 }))
        let origin = ""
        const server = createServer((request, response) => {
          void (async () => {
            const body = await bodyOf(request)
            const form = new URLSearchParams(body)
            const isRenewal = form.get("grant_type") === "refresh_token"
            if (isRenewal) renewals.push(form.get("refresh_token") ?? "")
            if (isRenewal) await new Promise((resolve) => setTimeout(resolve, wait))
            const answer = await handle(
              new Request(`${origin}${request.url ?? "/"}`, {
                method: request.method ?? "GET",
                headers: headersOf(request),
                ...(body === "" ? {} : { body })
              })
            )
            response.writeHead(answer.status, Object.fromEntries(answer.headers))
            response.end(await answer.text())
          })()
        })
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        const address = server.address()
        origin = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
        const { clientId, start } = await kind.open(origin)
        handle = await start()
        const restart = Effect.promise(async () => {
          server.closeAllConnections()
          handle = await start()
        })
        const delay = (milliseconds: number): void => {
          wait = milliseconds
        }
        return { issuer: origin, clientId, renewals, delay, restart, server }
      }),
      ({ server }) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ),
    (running) => running
  )

const json = (body: object): Response => Response.json(body)

/** `@node-oauth/oauth2-server`: a refresh token is good for one renewal. It has no way to revoke one. */
export const nodeOauth: Kind = {
  name: "@node-oauth/oauth2-server",
  farewell: "NotRevoked",
  open: (origin) => {
    const client: OAuth2Server.Client = {
      id: "cli",
      grants: ["authorization_code", "refresh_token"],
      redirectUris: ["http://127.0.0.1/callback"]
    }
    const codes = new Map<string, OAuth2Server.AuthorizationCode>()
    const tokens = new Map<string, OAuth2Server.Token>()
    const grants = new Map<string, OAuth2Server.RefreshToken>()
    const model = {
      getClient: (id: string) => Promise.resolve(id === client.id && client),
      validateRedirectUri: (uri: string) => Promise.resolve(new URL(uri).hostname === "127.0.0.1"),
      saveAuthorizationCode: (
        code: OAuth2Server.AuthorizationCode,
        owner: OAuth2Server.Client,
        user: OAuth2Server.User
      ) => {
        const saved = { ...code, client: owner, user }
        codes.set(code.authorizationCode, saved)
        return Promise.resolve(saved)
      },
      getAuthorizationCode: (code: string) => Promise.resolve(codes.get(code) ?? false as const),
      revokeAuthorizationCode: (code: OAuth2Server.AuthorizationCode) =>
        Promise.resolve(codes.delete(code.authorizationCode)),
      saveToken: (token: OAuth2Server.Token, owner: OAuth2Server.Client, user: OAuth2Server.User) => {
        const saved = { ...token, client: owner, user }
        tokens.set(token.accessToken, saved)
        const { refreshToken } = token
        if (refreshToken !== undefined) grants.set(refreshToken, { ...saved, refreshToken })
        return Promise.resolve(saved)
      },
      getAccessToken: (token: string) => Promise.resolve(tokens.get(token) ?? false as const),
      getRefreshToken: (token: string) => Promise.resolve(grants.get(token) ?? false as const),
      revokeToken: (token: OAuth2Server.RefreshToken | OAuth2Server.Token) =>
        Promise.resolve(grants.delete(String(token.refreshToken)))
    }
    const start = (): Promise<Handler> => {
      const server = new OAuth2Server({ model })
      return Promise.resolve(async (request) => {
        const url = new URL(request.url)
        if (url.pathname === "/.well-known/oauth-authorization-server") {
          return json({
            issuer: origin,
            authorization_endpoint: `${origin}/authorize`,
            token_endpoint: `${origin}/token`,
            response_types_supported: ["code"],
            code_challenge_methods_supported: ["S256"],
            token_endpoint_auth_methods_supported: ["none"]
          })
        }
        const asked = new OAuth2Server.Request({
          headers: Object.fromEntries(request.headers),
          method: request.method,
          query: Object.fromEntries(url.searchParams),
          body: Object.fromEntries(new URLSearchParams(await request.text()))
        })
        const answer = new OAuth2Server.Response()
        const done = url.pathname === "/authorize"
          ? server.authorize(asked, answer, { authenticateHandler: { handle: () => ({ id: "ada" }) } })
          : url.pathname === "/token"
          ? server.token(asked, answer, {
            requireClientAuthentication: { authorization_code: false, refresh_token: false }
          })
          : undefined
        if (done === undefined) return new Response(null, { status: 404 })
        // It has written the refusal into the answer.
        await done.catch(() => undefined)
        return new Response(typeof answer.body === "object" ? JSON.stringify(answer.body) : null, {
          status: answer.status ?? 500,
          headers: { "content-type": "application/json", ...answer.headers }
        })
      })
    }
    return Promise.resolve({ clientId: client.id, start })
  }
}

/** As Cloudflare's store has it: texts by their names. */
const makeStore = () => {
  const texts = new Map<string, string>()
  return {
    get: (name: string, options?: { readonly type?: string }) => {
      const text = texts.get(name)
      return Promise.resolve(text === undefined ? null : options?.type === "json" ? JSON.parse(text) : text)
    },
    put: (name: string, text: string) => Promise.resolve(void texts.set(name, text)),
    delete: (name: string) => Promise.resolve(void texts.delete(name)),
    list: ({ prefix = "" }: { readonly prefix?: string } = {}) =>
      Promise.resolve({
        keys: [...texts.keys()].filter((name) => name.startsWith(prefix)).map((name) => ({ name })),
        list_complete: true
      })
  }
}

/** Cloudflare's `workers-oauth-provider`, outside of Cloudflare: the refresh token before the last is good, too. */
export const cloudflare: Kind = {
  name: "@cloudflare/workers-oauth-provider",
  farewell: "Revoked",
  open: async (origin) => {
    registerHooks({
      resolve: (name, context, next) =>
        name === "cloudflare:workers"
          ? { url: "data:text/javascript,export class WorkerEntrypoint {}", shortCircuit: true }
          : next(name, context)
    })
    const { OAuthProvider, getOAuthApi } = await import("@cloudflare/workers-oauth-provider")
    const env = { OAUTH_KV: makeStore() }
    const notFound = { fetch: () => Promise.resolve(new Response(null, { status: 404 })) }
    const options = {
      apiRoute: "/api",
      apiHandler: notFound,
      defaultHandler: {
        fetch: async (request: Request) => {
          if (new URL(request.url).pathname !== "/authorize") return notFound.fetch()
          const asked = await getOAuthApi(options, env).parseAuthRequest(request)
          const { redirectTo } = await getOAuthApi(options, env).completeAuthorization({
            request: asked,
            userId: "ada",
            metadata: {},
            scope: asked.scope,
            props: {}
          })
          return Response.redirect(redirectTo, 302)
        }
      },
      authorizeEndpoint: `${origin}/authorize`,
      tokenEndpoint: `${origin}/token`,
      resourceMetadata: { resource: `${origin}/api` },
      scopesSupported: ["read"]
    }
    const { clientId } = await getOAuthApi(options, env).createClient({
      redirectUris: ["http://127.0.0.1/callback"],
      tokenEndpointAuthMethod: "none"
    })
    const start = (): Promise<Handler> => {
      const server = new OAuthProvider(options)
      const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} }
      return Promise.resolve((request) => server.fetch(request, env, context))
    }
    return { clientId, start }
  }
}
