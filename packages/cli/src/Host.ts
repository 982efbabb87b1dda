/**
 * Hosts that may have a token, compared as the URL standard writes them.
 */
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Effect from "effect/Effect"
import { usage } from "./Failure.ts"

/**
 * A host as the URL standard writes it: `GIT.Example.com:443` and `git.example.com` are one for https.
 */
export const parse = (protocol: string, host: string): string | undefined => URL.parse(`${protocol}://${host}`)?.host

/**
 * Whether a host that a person wrote is that one.
 */
export const isSame = (written: string, host: string): boolean =>
  parse("https", written) === host || parse("http", written) === host

/**
 * Refuses a host that no host is equal to.
 */
export const check = (host: string) =>
  /[/\\?#@*\s]/.test(host) || parse("https", host) === undefined
    ? usage(`"${SecureUrl.shown(host)}" is no host: write it as git.example.com or git.example.com:8443`)
    : Effect.void
