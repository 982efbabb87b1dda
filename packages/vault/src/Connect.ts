/**
 * The web flow by which the users of a program connect their accounts: routes for the program's own server.
 *
 * @since 0.1.0
 */
import { BrowserLogin, PendingLogin } from "@effect-authn/core/iam/BrowserLogin"
import { IamClient, Revocation } from "@effect-authn/core/iam/IamClient"
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import { SessionKey } from "@effect-authn/core/session/SessionKey"
import type { EncryptionKeys } from "@effect-authn/core/storage/EncryptionKeys"
import { PendingLogins } from "@effect-authn/core/storage/PendingLogins"
import type { SessionLockError } from "@effect-authn/core/storage/SessionLock"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Fiber from "effect/Fiber"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Seal from "./internal/seal.ts"
import * as Vault from "./Vault.ts"

/**
 * Which accounts can be connected, and who connects them.
 *
 * - `origin`: the address of the program as browsers see it, `https://app.example.com`. Redirect URIs are made of it.
 * - `providers`: by the name that stands in addresses, the layers of the vault's table that have a sign-in page.
 * - `user`: who the user of a request is, as the program knows it from its own session. It becomes the account of the
 *   session's key. `None` for nobody, who is refused.
 * - `path`: where the routes begin. Default: `/connect`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E, R, R2> {
  readonly origin: string
  readonly providers: Readonly<Record<string, Layer.Layer<IamClient | BrowserLogin, E, R>>>
  readonly user: (
    request: HttpServerRequest.HttpServerRequest
  ) => Effect.Effect<Option.Option<string>, never, R2>
  readonly path?: `/${string}` | undefined
}

/**
 * What a program's pages need of the flow.
 *
 * @category services
 * @since 0.1.0
 */
export class Connect extends Context.Service<Connect, {
  /**
   * A token for the form field `csrf` of a user's page, good for that user for a day. Only browsers need it that send no
   * `Sec-Fetch-Site`, as those before 2023 do.
   */
  readonly csrf: (user: string) => Effect.Effect<string>
}>()("@effect-authn/vault/Connect") {}

// How long somebody may take at the pages of an IAM.
const patience = Duration.minutes(10)
const csrfLife = Duration.days(1)

// How long an IAM may take to end what nobody keeps, while somebody waits for a page.
const revocationLimit = Duration.seconds(5)

// A form of ours has a path and a token.
const mostBytes = ByteSize.kibibytes(16)

// A browser that begins more logins at once than these loses the cookies of the others.
const mostCookies = 12
const cookiePrefix = "__Host-connect-"

/** A login under way, as it lies sealed in the store. */
const Begun = Schema.fromJsonString(Schema.toCodecJson(Schema.Struct({
  provider: Schema.String,
  user: Schema.String,
  returnTo: Schema.String,
  isReconnect: Schema.Boolean,
  pending: PendingLogin
})))
const encodeBegun = Schema.encodeSync(Begun)
const decodeBegun = Schema.decodeUnknownOption(Begun)

const Csrf = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.Finite]))
const decodeCsrf = Schema.decodeUnknownOption(Csrf)

/** Whether a vault that could not store a session has it in memory, to store it later: the storage was only away. */
const isHeld = (error: TokenStorageError | SessionLockError | Vault.ProviderUnknown): boolean =>
  error._tag === "TokenStorageError" && (error.method === "put" || error.reason._tag === "StorageUnavailable")

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)

const guarded = HttpServerResponse.setHeaders({
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
})

const page = (status: number, title: string, text: string) =>
  guarded(HttpServerResponse.setStatus(
    HttpServerResponse.html(
      `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title>
<body style="font: 1rem/1.5 system-ui; max-width: 32rem; margin: 4rem auto; padding: 0 1rem">
<h1 style="font-size: 1.4rem">${escaped(title)}</h1>
<p>${escaped(text)}</p>
`
    ),
    status
  ))

/** A path of this origin, as a browser reads it; nothing for the address of another one, or what is none. */
const pathOf = (text: string, origin: string): string | undefined => {
  if (!text.startsWith("/") || /[\\\p{Cc}]/u.test(text) || text.length > 2048) return undefined
  const url = URL.parse(text, origin)
  return url?.origin === origin && !url.pathname.startsWith("//") ? url.pathname + url.search + url.hash : undefined
}

const withResult = (path: string, origin: string, results: Readonly<Record<string, string>>): string => {
  const url = new URL(path, origin)
  for (const [name, value] of Object.entries(results)) url.searchParams.set(name, value)
  return url.pathname + url.search + url.hash
}

const make = Effect.fnUntraced(function*<E, R, R2>(options: Options<E, R, R2>) {
  const { origin, path = "/connect" } = options
  const address = URL.parse(origin)
  if (address === null || address.origin !== origin || !/^https?:$/.test(address.protocol)) {
    return yield* Effect.die(new Error(`Connect: origin is "https://host", without a path (it is "${origin}")`))
  }
  const router = yield* HttpRouter.HttpRouter
  const vault = yield* Vault.Vault
  const storage = yield* TokenStorage.TokenStorage
  const pendingLogins = yield* PendingLogins
  const digest = yield* Digest.Digest
  const random = yield* SecureRandom.SecureRandom
  const seal = yield* Seal.make
  const context = yield* Effect.context<R2>()
  const providers = new Map<string, { readonly iam: IamClient["Service"]; readonly login: BrowserLogin["Service"] }>()
  for (const [name, layer] of Object.entries(options.providers)) {
    if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name)) {
      return yield* Effect.die(
        new Error(
          `Connect: the name of a provider is 1 to 64 lower-case letters, digits, ".", "_" and "-" (not "${name}")`
        )
      )
    }
    const built = yield* Layer.build(layer)
    providers.set(name, { iam: Context.get(built, IamClient), login: Context.get(built, BrowserLogin) })
  }

  const userOf = (request: HttpServerRequest.HttpServerRequest) =>
    Effect.map(Effect.provideContext(options.user(request), context), Option.filter((user) => user !== ""))
  const hashed = (text: string) => digest.digestHex(Digest.sha256, new TextEncoder().encode(text))
  const keyOf = ({ clientId, issuer }: IamClient["Service"], account: string) =>
    SessionKey.make({ issuer, clientId, account })

  const unknownUser = page(401, "You are not signed in", "Sign in to this application first, then connect the account.")
  const unknownProvider = page(404, "There is no such provider", "This application connects no accounts there.")
  const foreign = page(
    403,
    "This was not asked for here",
    "The request did not come from a page of this application. Go back to it, and try again there."
  )
  const away = page(503, "This did not work now", "A part of this application is away. Try again in a moment.")

  const csrf = (user: string) =>
    Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => seal.close(JSON.stringify([user, now + Duration.toMillis(csrfLife)]), "csrf")
    )

  const isOurToken = Effect.fnUntraced(function*(token: string, user: string) {
    const opened = Option.flatMap(yield* seal.open(token, "csrf"), decodeCsrf)
    const now = yield* Clock.currentTimeMillis
    return Option.exists(opened, ([whose, until]) => whose === user && now < until)
  })

  /** Whether a request that changes something came from a page of this origin. */
  const isFromHere = Effect.fnUntraced(function*(
    request: HttpServerRequest.HttpServerRequest,
    form: UrlParams.UrlParams,
    user: string
  ) {
    const site = request.headers["sec-fetch-site"]
    if (site !== undefined) return site === "same-origin"
    const from = request.headers["origin"]
    if (from !== undefined && from !== origin) return false
    return yield* isOurToken(Option.getOrElse(UrlParams.getFirst(form, "csrf"), () => ""), user)
  })

  const wantsJson = ({ headers }: HttpServerRequest.HttpServerRequest) =>
    headers["accept"]?.includes("application/json") === true

  const jsonOf = (body: unknown) => guarded(HttpServerResponse.jsonUnsafe(body))
  const redirect = (to: string) => guarded(HttpServerResponse.redirect(to, { status: 303 }))

  /** What both POSTs begin with: who asks, for which provider, from where, and where to go back to. */
  const asked = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const { provider: name = "" } = yield* HttpRouter.params
    const provider = providers.get(name)
    if (provider === undefined) return yield* Effect.fail(unknownProvider)
    const account = yield* userOf(request)
    if (Option.isNone(account)) return yield* Effect.fail(unknownUser)
    const type = request.headers["content-type"]?.toLowerCase()
    const isForm = type?.startsWith("application/x-www-form-urlencoded") === true
    const hasBody = request.headers["transfer-encoding"] !== undefined ||
      (request.headers["content-length"] ?? "0") !== "0"
    // a way back, or the wish for the same account, must not get lost
    if (!isForm && (type !== undefined || hasBody)) {
      return yield* Effect.fail(
        page(
          415,
          "The form could not be read",
          "Send it as application/x-www-form-urlencoded: URLSearchParams, not FormData."
        )
      )
    }
    const form = isForm
      ? yield* Effect.mapError(
        Effect.provideService(request.urlParamsBody, HttpIncomingMessage.MaxBodySize, mostBytes),
        () => page(400, "The form could not be read", "Go back, and try again.")
      )
      : UrlParams.empty
    if (!(yield* isFromHere(request, form, account.value))) return yield* Effect.fail(foreign)
    const returnTo = pathOf(Option.getOrElse(UrlParams.getFirst(form, "returnTo"), () => "/"), origin)
    if (returnTo === undefined) {
      return yield* Effect.fail(
        page(400, "There is no way back", "\"returnTo\" is a path of this application, such as \"/settings\".")
      )
    }
    return { request, name, provider, user: account.value, form, returnTo }
  })

  /** Answers with what an effect fails with, and with an apology where a part of the program is away. */
  const answered = <E2, R3>(
    answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E2 | HttpServerResponse.HttpServerResponse, R3>
  ) =>
    Effect.catch(answer, (error) =>
      HttpServerResponse.isHttpServerResponse(error)
        ? Effect.succeed(error)
        : Effect.as(Effect.logWarning("an account could not be connected or disconnected", error), away))

  const start = answered(Effect.gen(function*() {
    const { form, name, provider, request, returnTo, user } = yield* asked
    const { pending, url } = yield* provider.login.begin({ redirectUri: `${origin}${path}/${name}/callback` })
    const binding = Base64Url.encode(yield* random.randomBytes(32))
    const begun = encodeBegun({
      provider: name,
      user,
      returnTo,
      isReconnect: Option.contains(UrlParams.getFirst(form, "reconnect"), "true"),
      pending
    })
    // Without the state and the browser's cookie there is nothing to take: neither spoils the login of another one.
    const id = `${pending.state} ${binding}`
    yield* pendingLogins.put(
      Redacted.make(id),
      Redacted.make(yield* seal.close(begun, `login ${yield* hashed(id)}`)),
      patience
    )
    const cookie = { path: "/", secure: true, httpOnly: true, sameSite: "lax" } as const
    const held = Object.keys(request.cookies).filter((cookie) => cookie.startsWith(cookiePrefix))
    const response = wantsJson(request) ? jsonOf({ url }) : redirect(url)
    return (held.length < mostCookies ? [] : held).reduce(
      (response, old) => HttpServerResponse.expireCookieUnsafe(response, old, cookie),
      HttpServerResponse.setCookieUnsafe(response, yield* cookieOf(pending.state), binding, {
        ...cookie,
        maxAge: patience
      })
    )
  }))

  const cookieOf = (state: string) => Effect.map(hashed(state), (hash) => `${cookiePrefix}${hash.slice(0, 16)}`)

  /** Ends a session that nobody keeps, so that nothing works on at the IAM of which nobody knows. */
  const ended = Effect.fnUntraced(function*(iam: IamClient["Service"], key: SessionKey, issued: Session.TokenResponse) {
    const session = Session.fromResponse(key, issued, { strategy: "vault", selection: Selection.none })
    const revocation = yield* iam.revoke(session).pipe(
      Effect.timeout(revocationLimit),
      Effect.catch(({ message }) => Effect.succeed(Revocation.cases.NotRevoked.make({ reason: message })))
    )
    yield* Effect.annotateLogs(Effect.logWarning("an account was not connected, since its session could not be kept"), {
      issuer: key.issuer,
      client: key.clientId,
      account: key.account,
      revoked: revocation._tag === "Revoked",
      ...(revocation._tag === "Revoked" ? {} : { reason: revocation.reason })
    })
  })

  const over = page(
    400,
    "This sign-in is over",
    "It was finished before, took longer than ten minutes, or was begun in another browser. Go back to the application, " +
      "see whether the account is connected, and begin again if it is not."
  )

  /** Whether the session of the user is of another account than what was issued. */
  const isOther = (key: SessionKey, issued: Session.TokenResponse) =>
    Effect.map(storage.get(key), (found) => {
      const before = Option.flatMap(found, (session) => session.user)
      return Option.exists(before, ({ id }) => Option.exists(issued.user, (now) => now.id !== id))
    })

  /** Redeems the code and keeps the session, and says in one word what came of it. */
  const finish = Effect.fnUntraced(function*(
    { iam, login }: { readonly iam: IamClient["Service"]; readonly login: BrowserLogin["Service"] },
    begun: typeof Begun.Type,
    callbackUrl: string,
    refusal: string | null
  ) {
    const completed = yield* login.complete(begun.pending, callbackUrl).pipe(
      Effect.asSome,
      Effect.catch((error) =>
        Effect.as(Effect.logWarning(`an account was not connected: ${error.message}`), Option.none())
      )
    )
    if (Option.isNone(completed)) return refusal === "access_denied" ? "denied" : "failed"
    const issued = completed.value
    const key = keyOf(iam, begun.user)
    if (begun.isReconnect && (yield* Effect.tapError(isOther(key, issued), () => ended(iam, key, issued)))) {
      return "another-account"
    }
    yield* Effect.tapError(vault.put(key, issued), (error) => isHeld(error) ? Effect.void : ended(iam, key, issued))
    yield* Effect.annotateLogs(Effect.logInfo("an account was connected"), {
      issuer: key.issuer,
      client: key.clientId,
      account: key.account
    })
    return "connected"
  })

  const callback = answered(Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const { provider: name = "" } = yield* HttpRouter.params
    const provider = providers.get(name)
    if (provider === undefined) return unknownProvider
    // A browser that looks ahead does not finish a login.
    if (request.method === "HEAD" || request.headers["sec-purpose"]?.includes("prefetch") === true) return over
    const url = new URL(request.url, origin)
    const state = url.searchParams.get("state") ?? ""
    const cookieName = yield* cookieOf(state)
    const binding = request.cookies[cookieName]
    if (state === "" || binding === undefined) return over
    const id = `${state} ${binding}`
    const found = yield* pendingLogins.take(Redacted.make(id))
    const opened = Option.isNone(found)
      ? Option.none()
      : yield* seal.open(Redacted.value(found.value), `login ${yield* hashed(id)}`)
    const begun = Option.getOrUndefined(Option.flatMap(opened, decodeBegun))
    // An answer at the address of another provider is a mix-up (RFC 9207).
    if (begun === undefined || begun.provider !== name) return over
    const account = yield* userOf(request)
    if (!Option.contains(account, begun.user)) {
      yield* Effect.logWarning("an account was about to be connected for another user than the one who began")
      return page(
        403,
        "Somebody else began this",
        "You are not signed in as the one who began to connect this account. Nothing was connected. Begin again."
      )
    }
    const back = (result: string) =>
      HttpServerResponse.expireCookieUnsafe(
        redirect(withResult(begun.returnTo, origin, { connect: result, provider: name })),
        cookieName,
        { path: "/", secure: true }
      )
    // Who closes the page does not say what becomes of a code that is spent.
    const finishing = yield* Effect.forkDetach(
      finish(provider, begun, `${origin}${url.pathname}${url.search}`, url.searchParams.get("error")),
      { startImmediately: true }
    )
    return back(yield* Fiber.join(finishing))
  }))

  const disconnect = answered(Effect.gen(function*() {
    const { name, provider, request, returnTo, user } = yield* asked
    const key = keyOf(provider.iam, user)
    const revocation = yield* vault.revoke(key)
    yield* Effect.annotateLogs(Effect.logInfo("an account was disconnected"), {
      issuer: key.issuer,
      client: key.clientId,
      account: key.account,
      revoked: revocation._tag === "Revoked"
    })
    const revoked = revocation._tag === "Revoked" ? "yes" : "no"
    return wantsJson(request)
      ? jsonOf({ provider: name, revoked: revocation._tag === "Revoked" })
      : redirect(withResult(returnTo, origin, { connect: "disconnected", provider: name, revoked }))
  }))

  const onlyPost = HttpServerResponse.setHeader(
    page(405, "This is not a page", "Accounts are connected and disconnected by a form of this application."),
    "allow",
    "POST"
  )

  yield* router.add("POST", `${path}/:provider`, start)
  yield* router.add("GET", `${path}/:provider`, onlyPost)
  yield* router.add("GET", `${path}/:provider/callback`, callback)
  yield* router.add("POST", `${path}/:provider/disconnect`, disconnect)
  yield* router.add("GET", `${path}/:provider/disconnect`, onlyPost)
  return Connect.of({ csrf: (user) => Effect.orDie(csrf(user)) })
})

/**
 * The routes on the program's router, below `path`:
 *
 * - `POST /:provider`, by a form of the program: goes to the IAM's page. With `Accept: application/json` it answers `{ url }`
 *   for a script to go to. The field `returnTo` is a path of the origin to come back to (`/` unless told). With
 *   `reconnect=true` the account has to be the one that was connected before, where the IAM says which it is.
 * - `GET /:provider/callback`, for the IAM: this is the redirect URI to register there.
 * - `POST /:provider/disconnect`: revokes the session at the IAM and removes it.
 *
 * The way back has `connect` in its query: `connected`, `denied` (the user said no), `failed` (the log says why),
 * `another-account` or `disconnected`, and the `provider`.
 *
 * **Details**
 *
 * A login lies sealed in the storage's `PendingLogins`, so that any machine finishes what another one began. It is taken
 * once, ends after ten minutes, and needs the cookie of the browser in which it was begun (`__Host-`, `SameSite=Lax`, one for
 * each login, so that two tabs do not meet). The user has to be the same at the start and at the callback: otherwise somebody
 * could make others use their account, or use another's. Both POSTs refuse what is not `Sec-Fetch-Site: same-origin`, or
 * has no token of `csrf` where a browser does not send that header. What was issued and cannot be kept is ended at
 * the IAM, unless the storage is only away: then this process keeps it in memory, and stores it later.
 *
 * **Gotchas**
 *
 * The program's own session cookie has to be `SameSite=Lax`: a `Strict` one is not there when the IAM sends the browser back.
 * Without `Redaction.layer` of core, which `NodeAuth.layer` brings, the server's traces and logs show the code and the state of a callback; both are
 * spent by then. A `Content-Security-Policy` with `form-action` has to name the IAM. An IAM that answers with a form (`response_mode=form_post`)
 * is not served.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R, R2>(
  options: Options<E, R, R2>
): Layer.Layer<
  Connect,
  E,
  | R
  | R2
  | HttpRouter.HttpRouter
  | Vault.Vault
  | TokenStorage.TokenStorage
  | PendingLogins
  | EncryptionKeys
> => Layer.effect(Connect, make(options)).pipe(Layer.provide([Digest.layerWebCrypto, Seal.layerCrypto]))
