/**
 * `authn vault`: a vault on this machine, or one machine of a fleet that shares a store.
 */
import * as Selection from "@effect-authn/core/session/Selection"
import { ServiceTokens } from "@effect-authn/core/storage/ServiceTokens"
import * as TokenStorage from "@effect-authn/core/storage/TokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as IssuerRate from "@effect-authn/vault/IssuerRate"
import * as Sweeper from "@effect-authn/vault/Sweeper"
import * as Vault from "@effect-authn/vault/Vault"
import * as VaultServer from "@effect-authn/vault/VaultServer"
import * as VaultStatus from "@effect-authn/vault/VaultStatus"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Os from "node:os"
import * as Path from "node:path"
import { usage } from "../Failure.ts"
import * as Input from "../Input.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import type * as Flags from "./Flags.ts"
import * as Providers from "./Providers.ts"
import * as Store from "./Store.ts"

type Given = Flags.Given<typeof Flags.serve>

/** The server, and its address in words. */
const listening = Effect.fnUntraced(function*({ behindTlsProxy, certificate, host, port, privateKey }: Given) {
  if (Option.isSome(certificate) !== Option.isSome(privateKey)) {
    return yield* usage("--certificate and --private-key go together")
  }
  if (!(port >= 0 && port <= 65_535)) return yield* usage("--port takes a number from 0 to 65535")
  const isSecure = Option.isSome(certificate) && Option.isSome(privateKey)
  const isOpen = isSecure || behindTlsProxy
  const name = Option.getOrElse(host, () => isOpen ? undefined : "127.0.0.1")
  const isLoopback = name !== undefined && /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(name)
  if (!isLoopback && !isOpen) {
    return yield* usage(
      `--host ${name} would show tokens to everyone on the way: give --certificate and --private-key, ` +
        "or --behind-tls-proxy where a proxy in front speaks https"
    )
  }
  const pem = isSecure
    ? { cert: yield* Input.file(certificate.value), key: yield* Input.file(privateKey.value) }
    : undefined
  const server = yield* Effect.try({
    try: () => pem === undefined ? Http.createServer() : Https.createServer(pem),
    catch: () => usage("--certificate and --private-key are not a certificate and its key, as PEM")
  })
  const layer = NodeHttpServer.layer(() => server, { port, ...(name === undefined ? {} : { host: name }) })
  const addressOf = (actual: number) => {
    const shown = name ?? (isSecure ? Os.hostname() : "localhost")
    return `${isSecure ? "https" : "http"}://${shown.includes(":") ? `[${shown}]` : shown}:${actual}`
  }
  return { layer, addressOf }
})

const providersOf = Effect.fnUntraced(function*(told: Option.Option<string>) {
  if (Option.isSome(told)) return yield* Providers.load(Path.resolve(told.value))
  const fs = yield* FileSystem.FileSystem
  const place = Path.join(Path.dirname(yield* Settings.filePath), "providers.toml")
  if (yield* Effect.orElseSucceed(fs.exists(place), () => false)) return yield* Providers.load(place)
  yield* Output.say(`authn: no --providers FILE, and no ${place}: this vault knows no IAM, and takes no session`)
  const none: Providers.Table = { providers: [], perSecond: new Map(), reuseGrace: new Map() }
  return none
})

/** A key that does not open what lies there would only be found out by those who ask. */
const checkKey = Effect.gen(function*() {
  const storage = yield* TokenStorage.TokenStorage
  const first = yield* Stream.runHead(TokenStorage.scan(storage))
  if (Option.isNone(first)) return
  yield* Effect.catchReason(
    Effect.asVoid(storage.get(first.value)),
    "TokenStorageError",
    "StorageKeyMismatch",
    ({ message }) =>
      Effect.fail(usage(`${message}; a key that was replaced goes on reading as a further line of the key file`))
  )
}).pipe(Effect.catchReason("TokenStorageError", "StorageCorrupt", () => Effect.void))

/** Makes a token where there is none yet: a terminal shows it, else it lies in a file. */
const firstToken = Effect.fnUntraced(function*(told: Option.Option<string>) {
  const tokens = yield* ServiceTokens
  if ((yield* tokens.list).length > 0) return undefined
  const made = yield* Effect.option(
    tokens.create({ name: "first", rights: ["token", "sessions:write", "sessions:read"] })
  )
  // another machine was faster
  if (Option.isNone(made)) return undefined
  const stdio = yield* Stdio.Stdio
  if (Option.isNone(told) && (yield* stdio.stdoutIsTerminal)) {
    yield* Output.say("The first service token, shown this once:")
    yield* Output.out(Redacted.value(made.value))
    return undefined
  }
  const path = Option.isSome(told) ? Path.resolve(told.value) : Path.join(yield* Store.directory, "service-token")
  // A token that nobody was told is no token.
  yield* Effect.tapError(
    Store.writePrivate(path, `${Redacted.value(made.value)}\n`),
    () => Effect.ignore(tokens.revoke("first"))
  )
  yield* Output.say(`The first service token is in ${path}, which only you may read.`)
  return path
})

const encodeLine = Schema.encodeSync(Schema.fromJsonString(Schema.Unknown))

/** What happened, as a line for those who keep such notes. */
const line = (fields: Record<string, string | boolean>) => Output.show(`${encodeLine(fields)}\n`)

/** The note of a token that was handed out. */
const note = (event: VaultServer.HandedOut) =>
  line({
    at: DateTime.formatIso(event.at),
    event: "token",
    caller: event.caller,
    issuer: event.key.issuer,
    client: event.key.clientId,
    account: event.key.account,
    selection: Selection.id(event.selection),
    replacement: event.isReplacement
  })

/**
 * A page for those who operate the vault. A link opens it once, within ten minutes: a terminal shows one, and a file that only
 * they may read always has a young one.
 */
const statusPage = Effect.fnUntraced(function*(vault: Context.Context<Vault.Vault>) {
  const { link } = Context.get(
    yield* Layer.build(
      VaultStatus.layer.pipe(
        Layer.provide(NodeHttpServer.layer(() => Http.createServer(), { host: "127.0.0.1", port: 0 })),
        Layer.provide(Layer.succeedContext(vault))
      )
    ),
    VaultStatus.VaultStatus
  )
  const stdio = yield* Stdio.Stdio
  if (yield* stdio.stdoutIsTerminal) yield* Output.say(`The page about this vault, once: ${yield* link}`)
  const path = Path.join(yield* Store.directory, "status-link")
  const write = Effect.flatMap(link, (url) => Store.writePrivate(path, `${url}\n`))
  yield* write
  yield* write.pipe(Effect.ignore, Effect.repeat(Schedule.spaced("5 minutes")), Effect.forkScoped)
  yield* Output.say(`A link to the page about this vault is in ${(yield* Output.short)(path)}: each works once.`)
})

const absent = HttpServerResponse.jsonUnsafe({
  error: "not_found",
  error_description:
    "there is no such route for this method: GET /openapi.json, with a service token, says which there are"
}, { status: 404, headers: { "cache-control": "no-store" } })

/**
 * What is asked for and is not there, whatever the method. A route for all of it would take HEAD away from the routes of GET,
 * by which proxies look whether a server is well.
 */
const nowhere = HttpRouter.middleware(
  (answer) =>
    Effect.andThen(
      HttpEffect.appendPreResponseHandler((_, response) =>
        Effect.succeed(response.status === 404 && response.headers["content-type"] === undefined ? absent : response)
      ),
      answer
    ),
  { global: true }
)

/** Serves until it is stopped. What is under way then becomes durable before the process ends. */
export const serve = Effect.fnUntraced(function*(given: Given) {
  const { addressOf, layer: server } = yield* listening(given)
  const { perSecond, providers, reuseGrace } = yield* providersOf(given.providers)
  const place = yield* Store.find(given.store)
  const stored = yield* Layer.build(Store.layer(place, yield* Store.keys(place, given.keyFile), reuseGrace))
  yield* Effect.provideContext(checkKey, stored)
  const tokenFile = yield* Effect.provideContext(firstToken(given.tokenFile), stored)
  const vault = yield* Layer.build(
    Sweeper.layer().pipe(
      Layer.provideMerge(Vault.layer({ providers })),
      Layer.provide(IssuerRate.layer({ perSecond: (issuer) => perSecond.get(issuer) })),
      Layer.provide(Layer.succeedContext(stored)),
      Layer.provide(NodeAuth.layerHttpClient)
    )
  )
  yield* Stream.runForEach(Context.get(vault, Vault.Vault).events, (event) =>
    line({
      at: DateTime.formatIso(event.at),
      event: event.kind,
      issuer: event.key.issuer,
      client: event.key.clientId,
      account: event.key.account,
      cause: event.cause
    })).pipe(Effect.forkScoped)
  if (given.status) yield* statusPage(vault)
  const context = yield* Effect.context<Stdio.Stdio>()
  const routes = VaultServer.layer({
    audit: (event) => Effect.provideContext(note(event), context),
    openapiPath: "/openapi.json"
  }).pipe(Layer.provide(Layer.succeedContext(Context.merge(vault, stored))))
  const served = yield* Layer.build(
    HttpRouter.serve(Layer.merge(routes, nowhere), { disableListenLog: true, disableLogger: true }).pipe(
      Layer.provideMerge(server)
    )
  ).pipe(
    Effect.catchTag(
      "ServeError",
      () => Effect.fail(usage(`port ${given.port} is taken, or not yours to use: give another --port`))
    )
  )
  const { address } = Context.get(served, HttpServer.HttpServer)
  const url = addressOf(address._tag === "UnixPathAddress" ? given.port : address.port)
  const short = yield* Output.short
  yield* Output.say(`Sessions are kept in ${short(Context.get(stored, TokenStorage.TokenStorage).description)}.`)
  const issuers = yield* Context.get(vault, Vault.Vault).issuers
  yield* Output.say(...issuers.map(({ clientId, issuer }) => `Serving sessions of ${issuer}, client ${clientId}.`))
  yield* (yield* Settings.JsonFlag)
    ? Output.json({ url, tokenFile: tokenFile ?? null })
    : Output.out(url)
  return yield* Effect.never
}, Effect.scoped)
