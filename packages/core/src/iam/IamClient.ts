/**
 * What a dialect implements: how one family of IAMs signs people in, renews and signs out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as RefreshPolicy from "../session/RefreshPolicy.ts"
import * as Selection from "../session/Selection.ts"
import * as Session from "../session/Session.ts"
import * as TokenSet from "../session/TokenSet.ts"
import type * as User from "../session/User.ts"
import type { ExportDocument } from "./ExportDocument.ts"
import { CredentialsRefused, IamError, Unsupported } from "./IamError.ts"

/**
 * What a person or a program offers to prove who it is.
 *
 * @category models
 * @since 0.1.0
 */
export const Credentials = Schema.TaggedUnion({
  Password: {
    handle: Schema.NonEmptyString,
    password: Schema.Redacted(Schema.String, { disallowJsonEncode: true })
  }
})

/**
 * The type of the schema `Credentials`.
 *
 * @category models
 * @since 0.1.0
 */
export type Credentials = typeof Credentials.Type

/**
 * What became of a session at the IAM when it was signed out here: `Revoked`, or `NotRevoked` with the reason (the IAM
 * has no such route, could not be reached, the token is not ours to revoke).
 *
 * @category models
 * @since 0.1.0
 */
export const Revocation = Schema.TaggedUnion({
  Revoked: {},
  NotRevoked: { reason: Schema.String }
})

/**
 * The type of the schema `Revocation`.
 *
 * @category models
 * @since 0.1.0
 */
export type Revocation = typeof Revocation.Type

/**
 * What an API's answer says about a token: nothing (`no`), that it refuses it (`rejected`), or that it wants to see it once
 * more, in another way that the dialect knows by now (`retry`).
 *
 * @category models
 * @since 0.1.0
 */
export type Challenge = "no" | "rejected" | "retry"

/**
 * One IAM, spoken to in its dialect.
 *
 * **When to use**
 *
 * Use when you write a dialect: `docs/extending.md` makes one in eighty lines, and `IamClientSuite` of
 * `@effect-authn/testing` tries it. A program uses `AuthManager`.
 *
 * **Gotchas**
 *
 * No member repeats a request that carries a password or a refresh token, and none writes a session: the keeper decides
 * both.
 *
 * @category services
 * @since 0.1.0
 */
export class IamClient extends Context.Service<IamClient, {
  /** The canonical address of the IAM: the name under which its sessions are kept. */
  readonly issuer: string
  /** The client that signs in, as the IAM knows it (RFC 6749, section 2.2). It is a part of a session's key. */
  readonly clientId: string
  /** The dialect's renewal policy, which an option of its layer may override. */
  readonly policy: RefreshPolicy.RefreshPolicy
  /**
   * What this client asks for where its caller selects nothing, as its options say; nothing unless told. Programs that ask
   * for different things may share a session: each is given the token of its own selection.
   */
  readonly selection?: Selection.Selection | undefined
  /** The environment variables that may hold a token. The first one that is set wins; none for most dialects. */
  readonly environment: ReadonlyArray<string>
  /**
   * Signs in. It is sent once: a second try could lock the account. Fails with `CredentialsRefused` for a wrong name or
   * password, and with `Unsupported` where the IAM has no passwords.
   */
  readonly login: (
    credentials: Credentials,
    selection: Selection.Selection
  ) => Effect.Effect<Session.TokenResponse, IamError>
  /**
   * Says what a token obtained elsewhere amounts to (its end, its grant), without a request. Fails with
   * `CredentialsRefused` for a token that can be seen to be of no use: expired, not yet valid, not a header value.
   * `adoptBearer` is the one for bearer tokens.
   */
  readonly adopt: (token: Redacted.Redacted) => Effect.Effect<Session.TokenResponse, IamError>
  /**
   * Makes a new access token for `target` from the session's grant (RFC 6749, section 6). Fails with `GrantDead` when the
   * grant has ended for good, and with `Unavailable` otherwise, which says whether the request may have been sent. Only
   * the keeper calls it.
   */
  readonly renew: (
    session: Session.Session,
    target: Selection.Selection
  ) => Effect.Effect<Session.TokenResponse, IamError>
  /**
   * Says who the session belongs to: from a route, the login answer or the claims. Fails with `CredentialsRefused` when
   * the IAM refuses the token, and with `Unsupported` where it has no way to tell.
   */
  readonly whoami: (session: Session.Session) => Effect.Effect<User.User, IamError>
  /** Tells the IAM that the session ended (RFC 7009), or says why it was not told. */
  readonly revoke: (session: Session.Session) => Effect.Effect<Revocation, IamError>
  /**
   * Puts a token on a request for an API. `presentBearer` is the one for bearer tokens; a dialect whose tokens are bound
   * to a key adds its proof here, and fails with `Misconfigured` where the key cannot be had.
   */
  readonly present: (
    bearer: Session.Bearer,
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientRequest.HttpClientRequest, IamError>
  /**
   * What an API's answer says about the token that it was shown. It is asked about each answer. Without it, 401 means
   * `rejected`.
   */
  readonly challenged?: (
    bearer: Session.Bearer,
    response: HttpClientResponse.HttpClientResponse
  ) => Effect.Effect<Challenge>
  /** Writes and reads the plain document in which a session travels between clients. */
  readonly document: ExportDocument
}>()("@effect-authn/core/iam/IamClient") {}

/**
 * Puts a bearer token on a request, in its `Authorization` header (RFC 6750, section 2.1): the `present` of every IAM
 * whose tokens need no proof of a key.
 *
 * **Example** (The header of a request)
 *
 * ```ts import.meta.vitest
 * import { IamClient, TokenSet } from "@effect-authn/core"
 * import { DateTime, Effect, Option, Redacted } from "effect"
 * import { HttpClientRequest } from "effect/http"
 *
 * const tokens = TokenSet.TokenSet.make({
 *   accessToken: Redacted.make("at-1"),
 *   tokenType: "Bearer",
 *   issuedAt: DateTime.makeUnsafe(0),
 *   expiresAt: Option.some(DateTime.makeUnsafe(3_600_000)),
 *   idToken: Option.none(),
 *   scope: Option.none()
 * })
 * const request = HttpClientRequest.get("https://api.example.com/notes")
 * const presented = await Effect.runPromise(IamClient.presentBearer({ tokens, login: 0 }, request))
 * presented.headers["authorization"] // => "Bearer at-1"
 * ```
 *
 * @category requests
 * @since 0.1.0
 */
export const presentBearer = (
  { tokens }: Session.Bearer,
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientRequest.HttpClientRequest> =>
  Effect.succeed(HttpClientRequest.setHeader(request, "authorization", Redacted.value(TokenSet.authorization(tokens))))

/**
 * Makes the `adopt` of an IAM with bearer tokens. Without a request it says what a token that was obtained elsewhere
 * amounts to: a token without `exp` has no known end, and is presented until the IAM refuses it.
 *
 * - `tokenType` stands before the token in a header; `Bearer` unless told.
 * - `grantOf` says what can renew the token; nothing unless told.
 *
 * `CredentialsRefused` are: what no header can carry, a token that has expired, and one whose `nbf` or `iat` lies ahead
 * of this machine's clock by more than `TokenSet.clockTolerance`.
 *
 * **Example** (A token that no header can carry)
 *
 * ```ts import.meta.vitest
 * import { IamClient } from "@effect-authn/core"
 * import { Effect, Redacted } from "effect"
 *
 * const adopt = IamClient.adoptBearer({ issuer: "https://iam.example.com" })
 * const refused = await Effect.runPromise(Effect.flip(adopt(Redacted.make("two words"))))
 * refused.reason._tag // => "CredentialsRefused"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const adoptBearer = (options: {
  readonly issuer: string
  readonly tokenType?: string | undefined
  readonly grantOf?: (accessToken: Redacted.Redacted) => Session.Grant
}): IamClient["Service"]["adopt"] =>
  Effect.fn("IamClient.adopt")(function*(offered: Redacted.Redacted) {
    const refuse = (detail: string) =>
      new IamError({ issuer: options.issuer, method: "adopt", reason: new CredentialsRefused({ detail }) })
    const text = Redacted.value(offered).trim()
    const accessToken = yield* Effect.fromOption(
      TokenSet.accessTokenFrom(text),
      () =>
        refuse(
          text === ""
            ? "the token is empty: give the token itself"
            : "the token has a space, a line break or another character that no token has: give it alone"
        )
    )
    const now = yield* DateTime.now
    const tokens = TokenSet.adopted({ accessToken, tokenType: options.tokenType, issuedAt: now })
    if (Option.isSome(tokens.expiresAt) && !TokenSet.isValid(tokens, now)) {
      return yield* refuse(`the token expired at ${DateTime.formatIso(tokens.expiresAt.value)}: get a new one`)
    }
    const soon = DateTime.addDuration(now, TokenSet.clockTolerance)
    for (const name of ["nbf", "iat"]) {
      if (Option.exists(TokenSet.timeClaim(accessToken, name), (at) => DateTime.isGreaterThan(at, soon))) {
        return yield* refuse(
          `the token is not valid yet (${name} is in the future): set this machine's clock, or get another token`
        )
      }
    }
    return {
      tokens,
      grant: options.grantOf?.(accessToken) ?? Session.Grant.make({ _tag: "None" }),
      user: Option.none()
    }
  })

/**
 * Refuses a selection as `Unsupported`, for an IAM that has none.
 *
 * @category guards
 * @since 0.1.0
 */
export const unselected = (
  call: { readonly issuer: string; readonly method: string },
  selection: Selection.Selection
): Effect.Effect<void, IamError> =>
  Selection.id(selection) === "" ? Effect.void : unsupported(
    call,
    "this IAM has no organizations, projects, resources or scopes, one token is for everything: leave the selection out"
  )

/**
 * The access token of a session's current selection, for a dialect's own requests, whether or not it is still valid. A
 * session that has none is `Unsupported`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const accessToken = (
  call: { readonly issuer: string; readonly method: string },
  session: Session.Session
): Effect.Effect<Redacted.Redacted, IamError> =>
  Option.match(Session.currentToken(session), {
    onNone: () => unsupported(call, "the session holds no access token: sign in again"),
    onSome: ({ accessToken }) => Effect.succeed(accessToken)
  })

const unsupported = (
  { issuer, method }: { readonly issuer: string; readonly method: string },
  detail: string
): Effect.Effect<never, IamError> => Effect.fail(new IamError({ issuer, method, reason: new Unsupported({ detail }) }))
