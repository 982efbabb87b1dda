/**
 * `authn doctor`.
 */
import * as IamHttp from "@effect-authn/core/iam/IamHttp"
import { Browser } from "@effect-authn/core/login/Browser"
import { CallbackServer } from "@effect-authn/core/login/CallbackServer"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import { TokenStorage } from "@effect-authn/core/storage/TokenStorage"
import type { TokenStorageError } from "@effect-authn/core/storage/TokenStorageError"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as NodeBrowser from "@effect-authn/platform-node/NodeBrowser"
import * as NodeCallbackServer from "@effect-authn/platform-node/NodeCallbackServer"
import * as PrivateFile from "@effect-authn/platform-node/PrivateFile"
import * as Command from "effect/cli/Command"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Path from "node:path"
import { platform, version } from "node:process"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import { failed } from "../Failure.ts"
import * as Input from "../Input.ts"
import * as LeftBehind from "../LeftBehind.ts"
import * as Output from "../Output.ts"
import * as Question from "../Question.ts"
import * as Settings from "../Settings.ts"
import * as TimeSpan from "../TimeSpan.ts"

interface Finding {
  readonly check: string
  readonly verdict: "good" | "note" | "bad"
  readonly detail: string
}

const finding = (check: string, verdict: Finding["verdict"], detail: string): Finding => ({
  check,
  verdict,
  detail: Output.plain(detail)
})

const node = finding("Node", "good", `${version} on ${platform}`)

const whyNot = ({ reason }: TokenStorageError): string =>
  reason._tag === "StorageUnavailable" && reason.tried?.[0] !== undefined ? reason.tried[0].reason : reason.message

/** Tries a place, once for all that is looked for there: a keychain may be asking a person for a password. */
const opener = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const known = new Map<StoragePolicy.Place, Tried>()
  return Effect.fnUntraced(function*(place: StoragePolicy.Place) {
    const where = known.get(place)
    if (where !== undefined) return where
    const built = yield* Layer.buildWithScope(AccountServices.storage(place), scope)
    const choice = yield* Effect.result(Context.get(built, StoragePolicy.StoragePolicy).choice)
    const tried: Tried = { choice, storage: Context.get(built, TokenStorage) }
    known.set(place, tried)
    return tried
  })
})

interface Tried {
  readonly choice: Result.Result<{ readonly description: string }, TokenStorageError>
  readonly storage: TokenStorage["Service"]
}

type Open = Effect.Success<typeof opener>

/** Tries each place for sessions. One is enough, unless the policy wants another one. */
const places = Effect.fnUntraced(function*(policy: StoragePolicy.Policy, open: Open) {
  const found: Array<Finding> = []
  for (const place of ["keyring", "encrypted-file", "sqlite", "plain-file"] as const) {
    // trying it makes its file
    if (place === "sqlite" && policy !== place) continue
    const { choice } = yield* open(place)
    found.push(
      Result.isSuccess(choice)
        ? finding(`storage: ${place}`, "good", choice.success.description)
        : finding(`storage: ${place}`, policy === place ? "bad" : "note", whyNot(choice.failure))
    )
  }
  const isSafe = found.some(({ check, verdict }) => verdict === "good" && check !== "storage: plain-file")
  if (policy === "auto" && !isSafe) {
    const advice = "set AUTHN_PASSPHRASE to encrypt sessions, or AUTHN_STORAGE=plain-file"
    found.push(
      (yield* Input.hasPerson)
        ? finding("storage: auto", "note", `authn login asks before it uses a plain file: ${advice}`)
        : finding("storage: auto", "bad", `there is no place but a plain file, which nobody allowed: ${advice}`)
    )
  }
  return found
})

/** The disk takes a file, and nobody else reads what is there. */
const files = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const place = yield* Effect.result(Account.directory)
  if (Result.isFailure(place)) return [finding("files", "bad", place.failure.message)]
  const data = place.success
  const probe = Path.join(data, `.probe-${yield* Random.nextInt}`)
  const written = yield* Effect.result(
    Effect.ignore(PrivateFile.makeDirectory(data)).pipe(
      Effect.andThen(fs.writeFileString(probe, "probe", { mode: 0o600 })),
      Effect.ensuring(Effect.ignore(fs.remove(probe, { force: true })))
    )
  )
  const found = [
    Result.isSuccess(written)
      ? finding("files", "good", `${data} can be written`)
      : finding(
        "files",
        "bad",
        `${data} cannot be written: give yourself access, free some space, or set XDG_DATA_HOME`
      )
  ]
  if (platform === "win32") return found
  const readable: Array<string> = []
  const refused = new Set<string>()
  for (const name of ["accounts", "sessions", "encrypted", "keychain", "sqlite"]) {
    const directory = Path.join(data, name)
    const entries = yield* Effect.orElseSucceed(fs.readDirectory(directory), () => [])
    const files = entries.filter((entry) => entry !== "locks").map((entry) => Path.join(directory, entry))
    const directories = [directory, Path.join(directory, "locks")]
    // a database may be large, and is not read as text
    const check = (file: string) =>
      name === "sqlite" ? Effect.asVoid(PrivateFile.locate(file)) : Effect.asVoid(PrivateFile.read(file))
    for (const checking of [...directories.map(PrivateFile.checkDirectory), ...files.map(check)]) {
      const checked = yield* Effect.result(checking)
      if (Result.isFailure(checked)) refused.add(checked.failure.detail)
    }
    for (const path of [directory, ...files]) {
      const info = yield* Effect.option(fs.stat(path))
      if (Option.isSome(info) && (info.value.mode & 0o077) !== 0) readable.push(path)
    }
  }
  const [first] = readable
  for (const detail of [...refused].slice(0, 5)) found.push(finding("permissions", "bad", detail))
  if (refused.size === 0) {
    found.push(
      first === undefined
        ? finding("permissions", "good", "only you can read what is there")
        : finding(
          "permissions",
          "bad",
          `others can read ${first}${
            readable.length > 1 ? ` and ${readable.length - 1} more` : ""
          }: chmod -R go= ${data}`
        )
    )
  }
  return found
})

/** What logins left behind can be read. */
const accounts = Effect.gen(function*() {
  const names = yield* Effect.orElseSucceed(Account.names, () => [])
  const found = yield* Effect.forEach(names, (name) => Effect.result(Account.get(name)))
  return found.flatMap((one) => Result.isFailure(one) ? [finding("accounts", "bad", one.failure.message)] : [])
})

/** The session of each account can be read, or is missing. */
const sessions = Effect.fnUntraced(function*(open: Open) {
  const names = yield* Effect.orElseSucceed(Account.names, () => [])
  const found: Array<Finding> = []
  for (const name of names) {
    const account = Option.flatten(yield* Effect.option(Account.get(name)))
    if (Option.isNone(account) || account.value.place === "memory") continue
    const { choice, storage } = yield* open(account.value.place)
    const bad = (error: TokenStorageError) => found.push(finding(`session of ${name}`, "bad", whyNot(error)))
    if (Result.isFailure(choice)) {
      bad(choice.failure)
      continue
    }
    for (const key of AccountServices.sessionKeys(account.value)) {
      const read = yield* Effect.result(storage.get(key))
      if (Result.isFailure(read)) bad(read.failure)
    }
  }
  return found
})

const leftBehind = ({ account, kind, path }: LeftBehind.Leftover): Finding =>
  finding(
    "left behind",
    "note",
    kind === "damaged"
      ? `${path} was damaged and put aside, and may hold tokens that still work: to remove it, authn logout ` +
        (account === undefined ? `--file ${path}` : `--account ${account}`)
      : `${path} is a session that no account lists, another program's or left by a login: ` +
        `to end it, authn logout --file ${path}`
  )

/** Ends what a person wants ended of it. */
const offer = Effect.fnUntraced(function*(found: ReadonlyArray<LeftBehind.Leftover>) {
  const short = yield* Output.short
  for (const leftover of found) {
    const path = short(leftover.path)
    const question = leftover.kind === "damaged"
      ? `Remove ${path}, which was damaged and put aside?`
      : `End the session in ${path}, which no account lists?`
    if (!(yield* Question.leave(question))) continue
    const outcome = yield* Effect.result(LeftBehind.end(leftover, { local: false, revoke: false }))
    yield* Output.say(`${path}: ${Result.isSuccess(outcome) ? outcome.success : outcome.failure.message}`)
  }
})

const proxy = Effect.gen(function*() {
  const proxies = yield* NodeAuth.proxies
  const wrong = proxies.flatMap(({ shown, variable }) => Option.isNone(shown) ? [variable] : [])
  if (wrong.length > 0) {
    return finding(
      "proxy and TLS",
      "bad",
      `${
        wrong.join(" and ")
      } is not the address of a proxy: write http://host:port, with what is special in a user or ` +
        "password percent-encoded, or unset it"
    )
  }
  const set = proxies.map(({ shown, variable }) => `${variable}=${Option.getOrElse(shown, () => "")}`)
  for (const name of ["NO_PROXY", "no_proxy", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"]) {
    const value = yield* Effect.orElseSucceed(Config.option(Config.NonEmptyString(name)), () => Option.none())
    if (Option.isSome(value)) set.push(`${name}=${value.value}`)
  }
  const insecure = yield* Effect.orElseSucceed(
    Config.option(Config.NonEmptyString("NODE_TLS_REJECT_UNAUTHORIZED")),
    () => Option.none()
  )
  return Option.contains(insecure, "0")
    ? finding(
      "proxy and TLS",
      "bad",
      "NODE_TLS_REJECT_UNAUTHORIZED=0 lets anybody on the way read the tokens: unset it, and name your authority in NODE_EXTRA_CA_CERTS"
    )
    : finding(
      "proxy and TLS",
      "good",
      set.length === 0 ? "no proxy and no certificates of your own are set" : set.join(", ")
    )
})

/** What a login would take for the endpoints of the provider. */
const provider = Effect.fnUntraced(function*(
  address: string,
  call: IamHttp.Call,
  told: Account.Provider["metadata"]
) {
  const { discover, given } = yield* Effect.promise(() => import("@effect-authn/iam-oidc/OidcMetadata"))
  return yield* told === undefined ? discover(address, call) : given(address, told, call)
})

/** Requests without a credential: whether the issuer answers, how its certificate does, and what time it has. */
const issuer = Effect.fnUntraced(function*(
  dialect: Account.Dialect | undefined,
  address: string,
  told: Account.Provider["metadata"]
) {
  const root = address.replace(/\/+$/, "")
  const path = dialect === "oidc"
    ? "/.well-known/openid-configuration"
    : dialect === "datalayer"
    ? "/api/iam/v1/ping"
    : ""
  const call = { issuer: address, method: "doctor", secrets: [], timeLimit: Duration.seconds(5) }
  const checked = IamHttp.endpoint(root)
  if (Result.isFailure(checked)) return [finding("issuer", "bad", checked.failure.reason.message)]
  const answer = yield* Effect.result(IamHttp.execute(HttpClientRequest.get(`${root}${path}`), call))
  if (Result.isFailure(answer)) return [finding("issuer", "bad", `${address}: ${answer.failure.reason.message}`)]
  const { receivedAt, serverTime, shape } = answer.success
  const skew = Duration.toMillis(TokenSet.clockOffset(serverTime, receivedAt))
  const found = [
    finding(
      "issuer",
      "good",
      `${address} answers${root.startsWith("https:") ? ", with a certificate that is trusted" : ""} (${shape})`
    ),
    Option.isNone(serverTime)
      ? finding("clock", "note", "the issuer does not tell its time")
      : Math.abs(skew) < 60_000
      ? finding(
        "clock",
        "good",
        skew === 0 ? "as the issuer's" : `${TimeSpan.format(Math.abs(skew))} off, which is allowed for`
      )
      : finding(
        "clock",
        "bad",
        `the issuer's clock is ${TimeSpan.format(Math.abs(skew))} ${
          skew > 0 ? "ahead" : "behind"
        }: set this machine's clock (it says ${DateTime.formatIso(receivedAt)})`
      )
  ]
  if (dialect !== "oidc") return found
  const metadata = yield* Effect.result(provider(address, call, told))
  found.push(
    Result.isFailure(metadata)
      ? finding("discovery", "bad", metadata.failure.reason.message)
      : finding(
        "discovery",
        "good",
        `${told === undefined ? "" : "what --metadata said at the login: "}authorization${
          metadata.success.device_authorization_endpoint === undefined ? "" : ", device codes"
        }${metadata.success.revocation_endpoint === undefined ? "" : ", revocation"}`
      )
  )
  return found
  // The command is the entry point.
  // oxlint-disable-next-line effecttsgo/strict-effect-provide
}, (checks) => Effect.provide(checks, NodeAuth.layerHttpClient))

const browser = Effect.fnUntraced(function*(where: Account.Callback) {
  const context = yield* Layer.build(Layer.mergeAll(NodeBrowser.layer, NodeCallbackServer.layer(where)))
  const obstacle = yield* Context.get(context, Browser).obstacle
  const callback = yield* Effect.result(Context.get(context, CallbackServer).open)
  return [
    Option.isNone(obstacle)
      ? finding("browser", "good", "one can be opened here")
      : finding(
        "browser",
        "note",
        `${obstacle.value}: authn login --browser falls back to a code, or to an address that is pasted`
      ),
    Result.isSuccess(callback)
      ? finding("callback", "good", `a port for the browser's way back is free (${callback.success.redirectUri})`)
      : finding("callback", "bad", callback.failure.detail)
  ]
}, Effect.scoped)

/**
 * Looks for what could be wrong, and tells what to do. No credential is sent.
 */
export const command = Command.make("doctor", {}, () =>
  Effect.gen(function*() {
    const { problems, settings } = yield* Settings.survey()
    const address = settings.values.issuer?.value
    const open = yield* opener
    const data = [...(yield* files), ...(yield* accounts)]
    const short = yield* Output.short
    const left = yield* Effect.orElseSucceed(LeftBehind.find, () => [])
    const found = [
      node,
      ...problems.map(({ message }) => finding("settings", "bad", message)).filter(({ detail }) =>
        !data.some((known) => known.detail === detail)
      ),
      ...data,
      ...(yield* sessions(open)).filter(({ detail }) => !data.some((known) => known.detail === detail)),
      ...left.map(leftBehind),
      ...(yield* places(settings.policy ?? "auto", open)),
      yield* proxy,
      ...(address === undefined
        ? [finding("issuer", "note", "none is set: give AUTHN_ISSUER, or sign in")]
        : yield* issuer(settings.dialect, address, settings.provider.metadata)),
      ...(yield* browser(settings.callback))
    ].map(({ check, detail, verdict }) => ({ check, verdict, detail: short(detail) }))
    const isBad = found.some(({ verdict }) => verdict === "bad")
    if (yield* Settings.JsonFlag) yield* Output.json(found)
    else {
      const { bold, green, red, yellow } = yield* Output.paint("stdout")
      const mark = { good: green("✓"), note: yellow("·"), bad: red("✗") }
      yield* Output.out(...Output.table(
        found.map(({ check, detail, verdict }) => [mark[verdict], verdict === "bad" ? bold(check) : check, detail]),
        yield* Output.columns
      ))
      if (yield* Input.hasPerson) yield* offer(left)
    }
    if (isBad) return yield* failed("something is wrong: see the lines marked ✗")
  }).pipe(Effect.scoped)).pipe(Command.withDescription("Look for what could be wrong, and tell what to do"))
