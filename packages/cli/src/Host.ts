/**
 * Hosts that may have a token, compared as the URL standard writes them.
 */
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Effect from "effect/Effect"
import { usage } from "./Failure.ts"

// What makes an address of a host, or is dropped from one in silence: whoever asks may go by another reading of it.
const foreign = /[/\\?#@%\s\p{C}]/u

/**
 * A host as the URL standard writes it: `GIT.Example.com:443` and `git.example.com` are one for https. What is more than a
 * host, with its port, is none.
 */
export const parse = (protocol: string, host: string): string | undefined =>
  foreign.test(host) ? undefined : URL.parse(`${protocol}://${host}`)?.host

/**
 * Whether a host that a person wrote is that one.
 */
export const isSame = (written: string, host: string): boolean =>
  parse("https", written) === host || parse("http", written) === host

/**
 * Refuses a host that no host is equal to.
 */
export const check = (host: string) =>
  host.includes("*") || parse("https", host) === undefined
    ? usage(`"${SecureUrl.shown(host)}" is no host: write it as git.example.com or git.example.com:8443`)
    : Effect.void

/**
 * Refuses a name of a user that cannot stand beside a password: it ends before the first colon (RFC 7617), and in one line.
 */
export const checkUser = (username: string) =>
  username.trim() === "" || /[:\p{C}]/u.test(username)
    ? usage("--username is empty, or has a colon or a control character in it: give the name of a user")
    : Effect.void
