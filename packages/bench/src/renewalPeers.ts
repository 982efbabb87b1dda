// The libraries that others keep sessions with, set up as their documentation says.
import { bearerTokenAuthenticationPolicy, createHttpHeaders, createPipelineRequest } from "@azure/core-rest-pipeline"
import {
  type AccountInfo,
  type ICachePlugin,
  type INetworkModule,
  ProtocolMode,
  PublicClientApplication
} from "@azure/msal-node"
import { Effect } from "effect"
import { OAuth2Client } from "google-auth-library"
import { readFileSync, writeFileSync } from "node:fs"
import { clientId, fromPromise, type Open } from "./renewalClient.ts"
import type { TokenServer } from "./renewalServer.ts"

// ---------------------------------------------------------------------------------------------------------------------
// google-auth-library
// ---------------------------------------------------------------------------------------------------------------------

export const googleClient = (origin: string): OAuth2Client =>
  new OAuth2Client({ clientId, endpoints: { oauth2TokenUrl: `${origin}/token` } })

export const google: Open = (server, leftMillis) =>
  Effect.clockWith((clock) =>
    Effect.sync(() => {
      const client = googleClient(server.origin)
      client.setCredentials({
        access_token: "access.old",
        refresh_token: server.grant(),
        expiry_date: clock.currentTimeMillisUnsafe() + leftMillis
      })
      return fromPromise(() => client.getAccessToken().then(({ token }) => token ?? Promise.reject(new Error("none"))))
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// @azure/msal-node
// ---------------------------------------------------------------------------------------------------------------------

const authority = "https://iam.invalid"

// It takes an authority in https only: its requests for that one are sent to the endpoint.
const network = (origin: string): INetworkModule => {
  const send = (url: string, init: RequestInit) =>
    fetch(url.replace(authority, origin), init).then((response) =>
      response.json().then((body) => ({ status: response.status, headers: {}, body }))
    )
  return {
    sendGetRequestAsync: (url, options) => send(url, { headers: options?.headers ?? {} }),
    sendPostRequestAsync: (url, options) =>
      send(url, { method: "POST", headers: options?.headers ?? {}, body: options?.body ?? "" })
  }
}

export const msalClient = (origin: string, cachePlugin?: ICachePlugin): PublicClientApplication =>
  new PublicClientApplication({
    auth: {
      clientId,
      authority,
      knownAuthorities: ["iam.invalid"],
      protocolMode: ProtocolMode.OIDC,
      authorityMetadata: JSON.stringify({
        issuer: authority,
        authorization_endpoint: `${authority}/authorize`,
        token_endpoint: `${authority}/token`,
        jwks_uri: `${authority}/jwks`
      })
    },
    ...(cachePlugin === undefined ? {} : { cache: { cachePlugin } }),
    system: { networkClient: network(origin) }
  })

const scopes = ["api"]

/** Signs in, with an access token that has that many seconds left. */
export const msalSignIn = (client: PublicClientApplication, server: TokenServer, leftMillis: number) => {
  server.set({ expiresIn: Math.max(1, Math.round(leftMillis / 1000)) })
  return client.acquireTokenByRefreshToken({ refreshToken: server.grant(), scopes, forceCache: true }).then(
    (result) => {
      server.reset()
      return result?.account ?? Promise.reject(new Error("no account"))
    }
  )
}

export const msalAsk = (client: PublicClientApplication, account: AccountInfo): Promise<string> =>
  client.acquireTokenSilent({ account, scopes }).then(({ accessToken }) => accessToken)

/** A cache as many people have left it, in the form of `serialize`. */
export const msalCache = (
  people: ReadonlyArray<{ readonly account: string; readonly accessToken: string; readonly refreshToken: string }>
): string => {
  const environment = "iam.invalid"
  const records = <A>(entry: (person: typeof people[number]) => readonly [string, A]) =>
    Object.fromEntries(people.map(entry))
  const common = (account: string) => ({ home_account_id: account, environment, client_id: clientId })
  return JSON.stringify({
    Account: records(({ account }) => [`${account}-${environment}-`, {
      home_account_id: account,
      environment,
      realm: "",
      local_account_id: account,
      username: account,
      authority_type: "Generic"
    }]),
    IdToken: {},
    AccessToken: records(({ accessToken, account }) => [`${account}-${environment}-accesstoken-${clientId}--api--`, {
      ...common(account),
      credential_type: "AccessToken",
      secret: accessToken,
      cached_at: "1760000000",
      expires_on: "4000000000",
      extended_expires_on: "4000000000",
      target: "api",
      realm: "",
      token_type: "Bearer"
    }]),
    RefreshToken: records(({ account, refreshToken }) => [`${account}-${environment}-refreshtoken-${clientId}----`, {
      ...common(account),
      credential_type: "RefreshToken",
      secret: refreshToken
    }]),
    AppMetadata: {}
  })
}

export const msal: Open = (server, leftMillis) =>
  Effect.promise(() => {
    const client = msalClient(server.origin)
    return msalSignIn(client, server, leftMillis).then((account) => fromPromise(() => msalAsk(client, account)))
  })

/** The cache in a file that processes share, as its documentation shows it. */
export const fileCache = (file: string): ICachePlugin => ({
  beforeCacheAccess: (cache) => Promise.resolve(cache.tokenCache.deserialize(readFileSync(file, "utf8"))),
  afterCacheAccess: (cache) =>
    Promise.resolve(cache.cacheHasChanged ? writeFileSync(file, cache.tokenCache.serialize()) : undefined)
})

/** The account that the cache knows. */
export const msalAccount = (client: PublicClientApplication): Promise<AccountInfo> =>
  client.getTokenCache().getAllAccounts().then(([account]) => account ?? Promise.reject(new Error("no account")))

// ---------------------------------------------------------------------------------------------------------------------
// @azure/core-rest-pipeline: the token cycler of its bearerTokenAuthenticationPolicy
// ---------------------------------------------------------------------------------------------------------------------

/** The credential is the caller's to bring: one bare request, and the first token without any. */
export const cyclerClient = (
  origin: string,
  held: { readonly token: string; readonly refreshToken: string; readonly expiresOnTimestamp: number },
  now: () => number
) => {
  let first: typeof held | undefined = held
  let { refreshToken } = held
  const getToken = () => {
    if (first !== undefined) {
      const { expiresOnTimestamp, token } = first
      first = undefined
      return Promise.resolve({ token, expiresOnTimestamp })
    }
    const body = new URLSearchParams({ grant_type: "refresh_token", client_id: clientId, refresh_token: refreshToken })
    return fetch(`${origin}/token`, { method: "POST", body }).then((response) =>
      response.json().then((answer) => {
        if (!response.ok) throw new Error(answer.error)
        refreshToken = answer.refresh_token
        return { token: String(answer.access_token), expiresOnTimestamp: now() + answer.expires_in * 1000 }
      })
    )
  }
  const policy = bearerTokenAuthenticationPolicy({ credential: { getToken }, scopes })
  // The request goes no further than to the policy.
  return () => {
    const request = createPipelineRequest({ url: "https://api.invalid" })
    return policy.sendRequest(
      request,
      (request) => Promise.resolve({ request, headers: createHttpHeaders(), status: 200 })
    )
      .then(() => request.headers.get("authorization")?.slice("Bearer ".length) ?? "")
  }
}

export const cycler: Open = (server, leftMillis) =>
  Effect.clockWith((clock) =>
    Effect.promise(() => {
      const now = () => clock.currentTimeMillisUnsafe()
      const ask = cyclerClient(
        server.origin,
        { token: "access.old", refreshToken: server.grant(), expiresOnTimestamp: now() + leftMillis },
        now
      )
      return ask().then(() => fromPromise(ask))
    })
  )
