/** Proofs that who shows a token has the key to which it is bound (RFC 9449). oauth4webapi makes them, and keeps the nonces. */
import { type IamError, Misconfigured } from "@effect-authn/core/iam/IamError"
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import { ProofKeys } from "@effect-authn/core/iam/ProofKeys"
import * as Session from "@effect-authn/core/session/Session"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as oauth from "oauth4webapi"

/** A key to which tokens are bound, and what makes its proofs. */
export interface Bound {
  readonly proofKey: Session.ProofKey
  readonly handle: oauth.DPoPHandle
}

// What every provider with DPoP signs and verifies.
export const algorithm = "ES256"
const curve: EcKeyImportParams = { name: "ECDSA", namedCurve: "P-256" }
// Each has nonces of up to a hundred servers.
const remembered = 256
const servers = 100
// Less than this is no difference between two clocks that tell whole seconds.
const noise = 5000

export const make = Effect.fnUntraced(function*(issuer: string) {
  const keys = yield* ProofKeys
  const clock = yield* Clock.Clock
  const handles = new Map<string, oauth.DPoPHandle>()
  // How far the clocks of servers are ahead of ours, in milliseconds, by their origins: each dates the proofs for itself.
  const clocks = new Map<string, number>()

  const handleOf = (pair: CryptoKeyPair): oauth.DPoPHandle =>
    oauth.DPoP({}, pair, {
      [oauth.modifyAssertion]: (_header, payload) => {
        const { htu } = payload
        const ahead = typeof htu === "string" ? clocks.get(new URL(htu).origin) ?? 0 : 0
        payload["iat"] = Math.floor((clock.currentTimeMillisUnsafe() + ahead) / 1000)
      }
    })

  const remember = (id: string, handle: oauth.DPoPHandle): oauth.DPoPHandle => {
    const [oldest] = handles.keys()
    if (oldest !== undefined && handles.size >= remembered) handles.delete(oldest)
    handles.set(id, handle)
    return handle
  }

  const unusable = (detail: string) => IamHttp.error({ issuer, method: "prove" }, new Misconfigured({ detail }))

  /** A new key, for a login. */
  const create: Effect.Effect<Bound> = Effect.gen(function*() {
    const pair = yield* Effect.promise(() => oauth.generateKeyPair(algorithm, { extractable: true }))
    const jwk = yield* Effect.promise(() => crypto.subtle.exportKey("jwk", pair.privateKey))
    const { crv = "", d = "", kty = "", x = "", y = "" } = jwk
    const proofKey = Session.ProofKey.cases.Enclosed.make({ jwk: Redacted.make({ kty, crv, x, y, d }) })
    return { proofKey, handle: remember(idOf(proofKey), handleOf(pair)) }
  })

  /** The key of a session. */
  const of = Effect.fnUntraced(function*(proofKey: Session.ProofKey): Effect.fn.Return<Bound, IamError> {
    const id = idOf(proofKey)
    const known = handles.get(id)
    if (known !== undefined) return { proofKey, handle: known }
    const opened = proofKey._tag === "Enclosed"
      ? proofKey.jwk
      : yield* Effect.mapError(keys.open(proofKey), ({ message }) => unusable(message))
    const pair = Redacted.isRedacted(opened)
      ? yield* Effect.tryPromise({
        try: () => imported(Redacted.value(opened)),
        catch: () => unusable("the key to which the session is bound is damaged: sign in again")
      })
      : opened
    return { proofKey, handle: remember(id, handleOf(pair)) }
  })

  /**
   * Dates the proofs for a server that has refused one by its own clock from here on; whether that makes a difference.
   * An old proof is refused before anything else is done.
   */
  const keepTime = (serverTime: Option.Option<DateTime.Utc>, { origin }: URL): Effect.Effect<boolean> =>
    Effect.suspend(() => {
      if (Option.isNone(serverTime)) return Effect.succeed(false)
      const ahead = DateTime.toEpochMillis(serverTime.value) - clock.currentTimeMillisUnsafe()
      if (Math.abs(ahead - (clocks.get(origin) ?? 0)) < noise) return Effect.succeed(false)
      const [oldest] = clocks.keys()
      if (oldest !== undefined && clocks.size >= servers) clocks.delete(oldest)
      clocks.set(origin, ahead)
      return Effect.as(
        Effect.logWarning(
          `proofs are dated by the clock of ${origin}: this one differs by ${Math.round(ahead / 1000)} s`
        ),
        true
      )
    })

  return { create, of, keepTime }
})

const idOf = (key: Session.ProofKey): string => {
  if (key._tag === "Held") return `${key.keeper} ${key.name} ${key.thumbprint}`
  const jwk = Redacted.value(key.jwk)
  return `${text(jwk, "x")}.${text(jwk, "y")}`
}

const text = (jwk: Schema.JsonObject, name: string): string => {
  const value = jwk[name]
  return typeof value === "string" ? value : ""
}

const imported = (jwk: Schema.JsonObject): Promise<CryptoKeyPair> => {
  const open: JsonWebKey = { kty: text(jwk, "kty"), crv: text(jwk, "crv"), x: text(jwk, "x"), y: text(jwk, "y") }
  return Promise.all([
    crypto.subtle.importKey("jwk", { ...open, d: text(jwk, "d") }, curve, false, ["sign"]),
    crypto.subtle.importKey("jwk", open, curve, true, ["verify"])
  ]).then(([privateKey, publicKey]) => ({ privateKey, publicKey }))
}

/** The headers with which a token is shown to an API: its own, and the proof for this method and address. */
export const headers = (
  { handle }: Bound,
  request: { readonly method: string; readonly url: URL; readonly accessToken: Redacted.Redacted }
): Effect.Effect<{ readonly authorization: string; readonly dpop: string }> =>
  Effect.gen(function*() {
    let sent: Record<string, string> = {}
    yield* Effect.promise(() =>
      resourceRequest(handle, request, (headers) => {
        sent = headers
        return new Response()
      })
    )
    return { authorization: sent["authorization"] ?? "", dpop: sent["dpop"] ?? "" }
  })

/** Keeps the nonce that a server gave, for the next proof for it. */
export const learned = ({ handle }: Bound, url: URL, nonce: string): Effect.Effect<void> =>
  Effect.promise(() =>
    resourceRequest(
      handle,
      { method: "GET", url, accessToken: Redacted.make("none") },
      () => new Response(null, { headers: { "dpop-nonce": nonce } })
    )
  )

const resourceRequest = (
  DPoP: oauth.DPoPHandle,
  { accessToken, method, url }: {
    readonly method: string
    readonly url: URL
    readonly accessToken: Redacted.Redacted
  },
  answer: (headers: Record<string, string>) => Response
) =>
  oauth.protectedResourceRequest(Redacted.value(accessToken), method, url, undefined, null, {
    DPoP,
    [oauth.allowInsecureRequests]: true,
    // Nothing is sent: the program's own client does that.
    [oauth.customFetch]: (_url: string, { headers }: { readonly headers: Record<string, string> }) =>
      Promise.resolve(answer(headers))
  })
