/**
 * The plain document in which a session travels from one client to another. It shows its tokens, on purpose.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as Selection from "../session/Selection.ts"
import type { TokenResponse } from "../session/Session.ts"
import * as Session from "../session/Session.ts"
import * as TokenSet from "../session/TokenSet.ts"
import { IamError, Misconfigured } from "./IamError.ts"

/**
 * What a document amounts to: the same as an answer of the IAM, with the selection and the account that it was written
 * for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Imported extends TokenResponse {
  readonly selection: Selection.Selection
  readonly account: Option.Option<string>
}

/**
 * How the sessions of one IAM are written and read as plain documents. `encode` reveals the tokens. `decode` sends and
 * verifies nothing: an expired token is taken, to be renewed when it is first used; what it refuses is `Misconfigured`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExportDocument {
  readonly encode: (session: Session.Session) => Schema.JsonObject
  readonly decode: (document: unknown) => Effect.Effect<Imported, IamError>
  /** Why sessions of this IAM do not travel, where they do not: `AuthManager.export` then fails with `Unsupported`. */
  readonly unsupported?: string
}

const text = Schema.optional(Schema.NullOr(Schema.String))
const decodeFields = Schema.decodeUnknownEffect(Schema.Struct({
  version: Schema.optional(Schema.NullOr(Schema.Int)),
  token: text,
  refresh_token: text,
  refreshToken: text,
  env: text,
  token_type: text,
  tokenType: text,
  host: text,
  organization: text,
  project: text,
  resource: text,
  scope: text,
  account: text
}))

/**
 * Makes the document codec of an IAM.
 *
 * Written are `version` (1), `token`, `refresh_token`, `token_type`, `host` (the issuer), the members of the selection,
 * `account`, and `env` where the dialect has environments; what a session does not have is left out. Read are also
 * camelCase keys; unknown keys, `undefined` and `null` count as absent, a missing `version` as 1.
 *
 * Refused are: what is no such document, a newer version, no token, and a `host` or `env` that is not this client's, which
 * could send a refresh token elsewhere. `isHost` compares (default: equal to the issuer), `env.accepts` likewise;
 * `tokenType` is what a document means that names none, and `grantOf` says what a token without a refresh token can do
 * (default: nothing).
 *
 * **Example** (Writing a session and reading it)
 *
 * ```ts import.meta.vitest
 * import { Selection, Session, ExportDocument, SessionKey, TokenSet } from "@effect-authn/core"
 * import { DateTime, Effect, Option, Redacted } from "effect"
 *
 * const key = SessionKey.SessionKey.make({ issuer: "https://idp.example.com", clientId: "my-app", account: "default" })
 * const tokens = TokenSet.TokenSet.make({
 *   accessToken: Redacted.make("at-1"),
 *   tokenType: "Bearer",
 *   issuedAt: DateTime.makeUnsafe(0),
 *   expiresAt: Option.some(DateTime.makeUnsafe(3_600_000)),
 *   idToken: Option.none(),
 *   scope: Option.none()
 * })
 * const grant = Session.Grant.cases.RefreshToken.make({ refreshToken: Redacted.make("rt-1") })
 * const session = Session.fromResponse(key, { tokens, grant, user: Option.none() }, {
 *   strategy: "password",
 *   selection: Selection.make({ project: "apollo" })
 * })
 *
 * const document = ExportDocument.make({ issuer: "https://idp.example.com" })
 * const written = document.encode(session)
 * written["token"] // => "at-1"
 * written["project"] // => "apollo"
 * const imported = await Effect.runPromise(document.decode(written))
 * Selection.id(imported.selection) // => "project=apollo"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly issuer: string
  readonly isHost?: (host: string) => boolean
  readonly env?: { readonly name: string; readonly accepts: (name: string) => boolean; readonly known: string }
  readonly tokenType?: string
  readonly grantOf?: (accessToken: Redacted.Redacted) => Session.Grant
}): ExportDocument => {
  const { env, issuer } = options
  const refuse = (detail: string) => new IamError({ issuer, method: "import", reason: new Misconfigured({ detail }) })

  return {
    encode: (session) => {
      const tokens = Option.getOrUndefined(Session.currentToken(session))
      return {
        version: 1,
        ...(tokens && { token: Redacted.value(tokens.accessToken) }),
        ...(session.grant._tag === "RefreshToken" && { refresh_token: Redacted.value(session.grant.refreshToken) }),
        ...(env && { env: env.name }),
        ...(tokens && { token_type: tokens.tokenType }),
        host: issuer,
        ...Struct.pick(session.current, ["organization", "project", "resource", "scope"]),
        account: session.key.account
      }
    },

    decode: Effect.fnUntraced(function*(document) {
      const fields = yield* Effect.mapError(
        decodeFields(document),
        (error) => refuse(`not a document of an exported session: ${error.message.replaceAll("\n", " ")}`)
      )
      const version = fields.version ?? 1
      if (version !== 1) {
        return yield* refuse(
          `the document is of version ${version}, this program reads version 1 only: update this program, or export again`
        )
      }
      if (fields.host && !(options.isHost?.(fields.host) ?? fields.host === issuer)) {
        return yield* refuse("the document is of another host: import it into a client that is set up for that host")
      }
      if (fields.env && env !== undefined && !env.accepts(fields.env)) {
        return yield* refuse(
          `the document is of the environment "${fields.env}", this client is set up for "${env.name}"; ${env.known}`
        )
      }
      const accessToken = TokenSet.accessTokenFrom(fields.token ?? "")
      if (Option.isNone(accessToken)) {
        return yield* refuse(
          "the document has no token that can be sent: export it again from a session that is signed in"
        )
      }
      const tokenType = fields.token_type || fields.tokenType || options.tokenType || "Bearer"
      if (!TokenSet.isTokenType(tokenType)) return yield* refuse("the document's token type is not a word")
      const refreshToken = fields.refresh_token || fields.refreshToken || ""
      const read = TokenSet.refreshTokenFrom(refreshToken)
      if (refreshToken !== "" && Option.isNone(read)) {
        return yield* refuse(
          "the document's refresh token has a character that no such token has: export it again from a session that is " +
            "signed in"
        )
      }
      return {
        tokens: TokenSet.adopted({
          accessToken: accessToken.value,
          tokenType,
          scope: fields.scope ?? undefined,
          // Its life began before it came here: counted from now, every token would look short-lived and shrink the window.
          issuedAt: issuedAt(accessToken.value, yield* DateTime.now)
        }),
        grant: Option.isSome(read)
          ? Session.Grant.make({ _tag: "RefreshToken", refreshToken: read.value })
          : options.grantOf?.(accessToken.value) ?? Session.Grant.make({ _tag: "None" }),
        user: Option.none(),
        selection: Selection.make({
          organization: fields.organization ?? "",
          project: fields.project ?? "",
          resource: fields.resource ?? "",
          scope: fields.scope ?? ""
        }),
        account: Option.filter(Option.fromNullishOr(fields.account), (account) => account !== "")
      }
    })
  }
}

// Without `iat` the life is taken to be long: a window shrinks only for a token that is known to be short-lived.
const issuedAt = (token: Redacted.Redacted, now: DateTime.Utc): DateTime.Utc =>
  TokenSet.timeClaim(token, "iat").pipe(
    Option.map((iat) => DateTime.min(iat, now)),
    Option.getOrElse(() => DateTime.makeUnsafe(0))
  )
