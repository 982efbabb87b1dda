// Sign-in libraries that keep people's tokens in a table of the program, as their documentation has it: better-auth and Auth.js.
import { Auth } from "@auth/core"
import type { Adapter } from "@auth/core/adapters"
import { betterAuth } from "better-auth"
import { getMigrations } from "better-auth/db/migration"
import { genericOAuth } from "better-auth/plugins"
import { DatabaseSync } from "node:sqlite"
import { clientId } from "./renewalClient.ts"
import type { TokenServer } from "./renewalServer.ts"

const secret = "a secret of this bench, which protects nothing"

/** A file that processes share, patient as its own documentation asks for. */
const open = (file: string): DatabaseSync => {
  const database = new DatabaseSync(file, { timeout: 10_000 })
  database.exec("PRAGMA journal_mode = WAL")
  return database
}

// ---------------------------------------------------------------------------------------------------------------------
// better-auth: https://www.better-auth.com/docs/concepts/oauth#get-access-token
// ---------------------------------------------------------------------------------------------------------------------

const better = (database: DatabaseSync, origin: string) =>
  betterAuth({
    baseURL: "http://127.0.0.1",
    secret,
    database,
    telemetry: { enabled: false },
    logger: { disabled: true },
    plugins: [
      genericOAuth({
        config: [{
          providerId: "iam",
          clientId,
          clientSecret: "unused",
          authorizationUrl: `${origin}/authorize`,
          tokenUrl: `${origin}/token`
        }]
      })
    ]
  })

const betterId = (index: number) => `person-${index}`

/** Leaves sessions whose access tokens have ended. */
export const betterLeave = async (file: string, server: TokenServer, count: number): Promise<void> => {
  const database = open(file)
  const auth = better(database, server.origin)
  await (await getMigrations(auth.options)).runMigrations()
  const { internalAdapter } = await auth.$context
  for (let index = 0; index < count; index += 1) {
    const id = betterId(index)
    const user = await internalAdapter.createUser(
      { name: id, email: `${id}@example.com`, emailVerified: true },
      { method: "admin" }
    )
    const account = await internalAdapter.createAccount({
      userId: user.id,
      providerId: "iam",
      accountId: id,
      accessToken: "access.old",
      refreshToken: server.grant(),
      accessTokenExpiresAt: new Date(Date.now() - 1000)
    })
    database.exec("CREATE TABLE IF NOT EXISTS bench (person TEXT, user TEXT, account TEXT)")
    database.prepare("INSERT INTO bench VALUES (?, ?, ?)").run(id, user.id, account.id)
  }
  database.close()
}

/** Asks for somebody's token. */
export const betterAsk = (file: string, origin: string) => {
  const database = open(file)
  const auth = better(database, origin)
  const find = database.prepare("SELECT user, account FROM bench WHERE person = ?")
  return async (index: number): Promise<string> => {
    const { account, user } = find.get(betterId(index)) ?? {}
    const { accessToken } = await auth.api.getAccessToken({
      body: { accountId: String(account), userId: String(user) }
    })
    return accessToken
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Auth.js: https://authjs.dev/guides/refresh-token-rotation, the database strategy
// ---------------------------------------------------------------------------------------------------------------------

interface Account {
  readonly access_token: string
  readonly refresh_token: string
  readonly expires_at: number
}

export const authJsLeave = (file: string, server: TokenServer, count: number): void => {
  const database = open(file)
  database.exec(
    "CREATE TABLE account (user TEXT PRIMARY KEY, access_token TEXT, refresh_token TEXT, expires_at INTEGER)"
  )
  const insert = database.prepare("INSERT INTO account VALUES (?, 'access.old', ?, ?)")
  for (let index = 0; index < count; index += 1) {
    insert.run(`${index}`, server.grant(), Math.floor(Date.now() / 1000) - 1)
  }
  database.close()
}

const unused = () => Promise.reject(new Error("nobody signs in here"))

// The session's token is its user here.
const adapter: Adapter = {
  createSession: unused,
  createUser: unused,
  deleteSession: unused,
  getUser: unused,
  getUserByAccount: unused,
  getUserByEmail: unused,
  linkAccount: unused,
  updateSession: unused,
  updateUser: unused,
  getSessionAndUser: (sessionToken) =>
    Promise.resolve({
      session: { sessionToken, userId: sessionToken, expires: new Date(Date.now() + 30 * 86_400_000) },
      user: { id: sessionToken, email: `${sessionToken}@example.com`, emailVerified: null }
    })
}

/** Asks for somebody's session, with the access token in it. */
export const authJsAsk = (file: string, origin: string) => {
  const database = open(file)
  const find = database.prepare("SELECT access_token, refresh_token, expires_at FROM account WHERE user = ?")
  const update = database.prepare(
    "UPDATE account SET access_token = ?, expires_at = ?, refresh_token = ? WHERE user = ?"
  )
  return async (index: number): Promise<string> => {
    const response = await Auth(
      new Request("http://127.0.0.1/auth/session", { headers: { cookie: `authjs.session-token=${index}` } }),
      {
        basePath: "/auth",
        secret,
        trustHost: true,
        adapter,
        providers: [],
        session: { strategy: "database" },
        logger: { error: () => {}, warn: () => {}, debug: () => {} },
        callbacks: {
          session: async ({ session, user }) => {
            // A row of a database has no type of its own; this one was written above.
            const account = find.get(user.id) as unknown as Account
            if (account.expires_at * 1000 >= Date.now()) return { ...session, accessToken: account.access_token }
            // the access token has expired: try to refresh it
            try {
              const response = await fetch(`${origin}/token`, {
                method: "POST",
                body: new URLSearchParams({
                  client_id: clientId,
                  grant_type: "refresh_token",
                  refresh_token: account.refresh_token
                })
              })
              const tokens = await response.json() as {
                readonly access_token: string
                readonly expires_in: number
                readonly refresh_token?: string
              }
              if (!response.ok) throw tokens
              update.run(
                tokens.access_token,
                Math.floor(Date.now() / 1000 + tokens.expires_in),
                tokens.refresh_token ?? account.refresh_token,
                user.id
              )
              return { ...session, accessToken: tokens.access_token }
            } catch {
              return { ...session, error: "RefreshTokenError" }
            }
          }
        }
      }
    )
    const { accessToken } = await response.json() as { readonly accessToken?: string }
    return accessToken ?? Promise.reject(new Error("RefreshTokenError"))
  }
}
