import type { IamSimulator } from "@effect-authn/testing/IamSimulator"
import { Effect } from "effect"

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: any
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** One request without any code of ours; a connection that breaks is `status` 0. */
export const send = (url: string, init: RequestInit = {}): Effect.Effect<Answer> =>
  Effect.promise(async (signal) => {
    try {
      const response = await fetch(url, { redirect: "manual", ...init, signal })
      const text = await response.text()
      return { status: response.status, headers: response.headers, text, json: parsed(text) }
    } catch {
      return { status: 0, headers: new Headers(), text: "", json: undefined }
    }
  })

export const post = (url: string, body: unknown, headers: Record<string, string> = {}): Effect.Effect<Answer> =>
  send(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body)
  })

export const bearer = (url: string, token: string): Effect.Effect<Answer> =>
  send(url, { headers: { authorization: `Bearer ${token}` } })

export const password = "correct-horse-battery"

export const claimsOf = (token: string): any => JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString())

/** The Datalayer-style routes. */
export const datalayer = ({ issuer }: IamSimulator["Service"]) => {
  const base = `${issuer}/api/iam/v1`
  return {
    base,
    login: (handle = "ada", secret = password) => post(`${base}/login`, { handle, password: secret }),
    exchange: (token: string) => post(`${base}/login`, { token }),
    get: (path: string, token: string) => bearer(`${base}${path}`, token)
  }
}

/** The Genomcore-style routes. */
export const genomcore = ({ issuer }: IamSimulator["Service"]) => ({
  login: (fields: object = {}) =>
    post(`${issuer}/api/v1/auth/login`, { username: "ada", password, organization: "acme", ...fields }),
  refresh: (pair: any, fields: object = {}) =>
    post(`${issuer}/api/v1/auth/refresh-token`, { token: pair.token, refreshToken: pair.refreshToken, ...fields }),
  echo: (token: string) => bearer(`${issuer}/whoami`, token)
})
