// What people use today in the place of a storage that machines share, as its documentation or its source has it.
import {
  type AccountInfo,
  DistributedCachePlugin,
  type ICacheClient,
  type PublicClientApplication
} from "@azure/msal-node"
import { randomUUID } from "node:crypto"
import { createClient } from "redis"
import { clientId } from "./renewalClient.ts"
import * as Peers from "./renewalPeers.ts"
import type { TokenServer } from "./renewalServer.ts"

export interface Redis {
  readonly get: (key: string) => Promise<string | null>
  readonly set: (key: string, value: string) => Promise<unknown>
  readonly setIfAbsent: (key: string, value: string, millis: number) => Promise<boolean>
  readonly removeIf: (key: string, value: string) => Promise<unknown>
  readonly close: () => void
}

export const redis = async (url: string): Promise<Redis> => {
  const client = createClient({ url })
  await client.connect()
  return {
    get: (key) => client.get(key),
    set: (key, value) => client.set(key, value),
    setIfAbsent: (key, value, millis) =>
      client.set(key, value, { condition: "NX", expiration: { type: "PX", value: millis } }).then((answer) =>
        answer === "OK"
      ),
    removeIf: (key, value) =>
      client.eval("if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end", {
        keys: [key],
        arguments: [value]
      }),
    close: () => client.destroy()
  }
}

interface Held {
  readonly accessToken: string
  readonly refreshToken: string
  readonly expiresAt: number
}

/** A session as a worker leaves it in Redis. */
export const leave = (redis: Redis, server: TokenServer, name: string, leftMillis: number, now: number) =>
  redis.set(
    name,
    JSON.stringify(
      { accessToken: "access.old", refreshToken: server.grant(), expiresAt: now + leftMillis } satisfies Held
    )
  )

/**
 * A worker with `SET NX PX` and polling, as Nango and oauth2-proxy have it: who gets the lock renews, the others ask again
 * every 100 ms, and whose lock it is at the end does not matter to what is written.
 */
export const worker = (redis: Redis, origin: string, name: string) => {
  const ask = async (isForced = false): Promise<string> => {
    const held: Held = JSON.parse((await redis.get(name)) ?? "{}")
    if (!isForced && held.expiresAt > Date.now()) return held.accessToken
    const nonce = randomUUID()
    if (!(await redis.setIfAbsent(`${name}:lock`, nonce, 10_000))) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      return ask(false)
    }
    try {
      const latest: Held = JSON.parse((await redis.get(name)) ?? "{}")
      if (!isForced && latest.expiresAt > Date.now()) return latest.accessToken
      const answer = await fetch(`${origin}/token`, {
        method: "POST",
        body: new URLSearchParams({
          grant_type: "refresh_token",
          client_id: clientId,
          refresh_token: latest.refreshToken
        })
      })
      if (!answer.ok) throw new Error(`refused with ${answer.status}`)
      const tokens = await answer.json() as { access_token: string; refresh_token: string; expires_in: number }
      await redis.set(
        name,
        JSON.stringify({
          accessToken: tokens.access_token,
          refreshToken: tokens.refresh_token,
          expiresAt: Date.now() + tokens.expires_in * 1000
        })
      )
      return tokens.access_token
    } finally {
      await redis.removeIf(`${name}:lock`, nonce)
    }
  }
  return ask
}

/** MSAL with its distributed cache plugin; one partition, that of the person. */
export const msal = (redis: Redis, origin: string, partition: string): PublicClientApplication => {
  const client: ICacheClient = {
    get: (key) => redis.get(key).then((value) => value ?? ""),
    set: (key, value) => redis.set(key, value).then(() => value)
  }
  return Peers.msalClient(
    origin,
    new DistributedCachePlugin(client, {
      getKey: () => Promise.resolve(partition),
      extractKey: () => Promise.resolve(partition)
    })
  )
}

export const msalRenew = (client: PublicClientApplication, account: AccountInfo): Promise<string> =>
  client.acquireTokenSilent({ account, scopes: ["api"], forceRefresh: true }).then(({ accessToken }) => accessToken)
