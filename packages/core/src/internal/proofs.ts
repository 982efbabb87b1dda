/** A token that is bound to a key (RFC 9449): how it is shown, and whether who shows it has the key. */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as DpopProof from "../jwt/DpopProof.ts"
import { Unauthorized } from "./refusals.ts"
import type { Verified } from "./verifier.ts"

/**
 * Whether tokens may, or must, be bound to a key (RFC 9449). With `dpop` a token whose claims name a key (`cnf` with `jkt`)
 * is taken only in the scheme `DPoP` and with a proof, as `DpopProof` verifies it; `required: true` refuses all others.
 *
 * A token that is bound to a key (`cnf`, RFC 7800) of which nobody asks for a proof here is refused, since a thief has the
 * token and not the key: without `dpop` each such token, and with it one that is bound to a certificate. `unproven: true`
 * takes it, where a proxy before this server has asked.
 *
 * **Example** (An API whose tokens are bound)
 *
 * ```ts
 * import { BearerAuth, Jwks } from "@effect-authn/core"
 * import { Effect, Layer } from "effect"
 *
 * export const layer = Layer.unwrap(
 *   Effect.map(Jwks.remote("https://idp.example.com/jwks"), (jwks) =>
 *     BearerAuth.layer({
 *       realm: "notes",
 *       jwks,
 *       algorithms: ["RS256"],
 *       issuer: "https://idp.example.com",
 *       audience: "https://api.example.com",
 *       dpop: { origin: "https://api.example.com", required: true }
 *     }))
 * )
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Proofs {
  readonly dpop?: (DpopProof.Options & { readonly required?: boolean | undefined }) | undefined
  readonly unproven?: true | undefined
}

/**
 * A token as a request shows it, and whether it came in the scheme for tokens that are bound.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shown {
  readonly token: Redacted.Redacted
  readonly isBound: boolean
}

/**
 * Asks the requests of one server for proofs, in a middleware that is no `BearerAuth`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Prover {
  /** What a refusal says where each token has to be bound: whoever shows none learns that, too. */
  readonly required: Unauthorized["dpop"]
  /** The token of a request: the one that it shows in the scheme `DPoP`, where that is taken, else the bearer token given. */
  readonly shown: (bearer: Redacted.Redacted, request: HttpServerRequest) => Shown
  /** Refuses a token that was verified, but came without the proof that it needs. */
  readonly prove: (
    shown: Shown,
    verified: Verified<unknown>,
    request: HttpServerRequest
  ) => Effect.Effect<void, Unauthorized>
}

/**
 * Makes what asks for proofs, with a memory of its own of those that it has taken. `realm` stands in its refusals.
 *
 * @category constructors
 * @since 0.1.0
 */
export const prover = Effect.fnUntraced(function*(
  { dpop, unproven }: Proofs,
  realm?: string
): Effect.fn.Return<Prover> {
  const proofs = dpop === undefined ? undefined : yield* DpopProof.make(dpop)

  return {
    required: proofs !== undefined && dpop?.required === true
      ? { algorithms: proofs.algorithms.join(" "), isProof: false }
      : undefined,

    shown: (credential, request) => {
      const bound = proofs === undefined
        ? undefined
        : /^dpop +(\S.*)$/i.exec(request.headers["authorization"] ?? "")?.[1]
      return bound === undefined
        ? { token: credential, isBound: false }
        : { token: Redacted.make(bound.trim()), isBound: true }
    },

    /** A token that is bound to a key is nobody's without the proof, and no other token is bound by showing one. */
    prove: Effect.fnUntraced(function*(
      { isBound, token }: Shown,
      { payload }: Verified<unknown>,
      request: HttpServerRequest
    ): Effect.fn.Return<void, Unauthorized> {
      const { cnf } = payload
      const jkt = Predicate.hasProperty(cnf, "jkt") && typeof cnf.jkt === "string" ? cnf.jkt : undefined
      if (cnf !== undefined && (proofs === undefined || jkt === undefined) && unproven !== true) {
        return yield* new Unauthorized({
          realm,
          description: "the token is bound to a key, and came without a proof of it"
        })
      }
      if (proofs === undefined) return
      const refuse = (description: string, isProof: boolean) =>
        new Unauthorized({ realm, description, dpop: { algorithms: proofs.algorithms.join(" "), isProof } })
      if (jkt === undefined) {
        if (isBound || dpop?.required === true) return yield* refuse("the token is not bound to a key", false)
        return
      }
      if (!isBound) {
        return yield* refuse("the token is bound to a key: show it in the scheme DPoP, with a proof", false)
      }
      const path = request.originalUrl.startsWith("/")
        ? request.originalUrl
        : URL.parse(request.originalUrl)?.pathname
      yield* proofs.verify({
        proof: request.headers["dpop"],
        method: request.method,
        path: path ?? "",
        accessToken: token
      }, jkt).pipe(Effect.mapError(({ detail }) => refuse(detail, true)))
    })
  }
})
