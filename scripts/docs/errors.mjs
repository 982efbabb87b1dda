// docs/errors.md: which error, when, what to do; message and exit code as the command has them. Everything but the advice
// comes from the classes themselves: an error that is new, or has other fields, makes this fail until it is described.
import * as Core from "@effect-authn/core"
import { Cause, Duration } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Failure from "../../packages/cli/src/Failure.ts"
import { firstSentence, modulesOf, packages } from "./sources.mjs"

const example = fs.readFileSync(path.join(import.meta.dirname, "../../docs/examples/errors.ts"), "utf8").trim()

const key = Core.SessionKey.SessionKey.make({ issuer: "https://id.example.com", clientId: "my-tool", account: "default" })
const iam = (reason) => new Core.IamError.IamError({ issuer: key.issuer, method: "renew", reason })
const store = (reason) =>
  new Core.TokenStorageError.TokenStorageError({ storage: "files in ~/.local/share", method: "get", reason })
const jwt = (reason) => new Core.JwtError.JwtError({ reason })
const itself = (error) => error

/** By tag: fields of an example, and what a program or a person does about it. */
const callers = {
  NotAuthenticated: [{ key }, "Call `auth.login`, or let the person run `authn login`."],
  ReauthenticationRequired: [
    { key, detail: "the refresh token was revoked", answerLost: false },
    "Sign in again. Nothing else helps, and the dead grant is not sent again. Keep the person's work first: a valid token is served until it expires."
  ],
  InvalidCredentials: [{ key, detail: "wrong handle or password" }, "Ask for the credentials again. Do not repeat the login by itself: it could lock the account."],
  NoCredentials: [
    { key, tried: [{ strategy: "environment", reason: "AUTHN_TOKEN is not set" }, { strategy: "stored", reason: "no session is stored" }] },
    "Give `auth.login` a strategy, set one of the named variables, or sign in with `authn login`."
  ],
  LoginTimedOut: [
    { key, waited: Duration.minutes(5), advice: "run the command again, or sign in with a code" },
    "Start the login again. `timeLimit` of the strategy makes it wait longer."
  ],
  StepUpRequired: [
    { key, acrValues: ["mfa"], maxAge: Duration.minutes(10) },
    "Let the person sign in with its `parameters`: `InteractiveStrategy.browser({ parameters })`. Then send the request again."
  ],
  SessionLockError: [
    { key, purpose: "renew", holder: "process 4711 on build-7", detail: "waited for a minute" },
    "Look at the process that the message names. Try again: the operating system releases the lock when it ends."
  ]
}

const iamReasons = {
  GrantDead: [{ detail: "invalid_grant" }, "Callers do not see it at a renewal: they get `ReauthenticationRequired`."],
  CredentialsRefused: [{ detail: "the token is not valid" }, "Callers do not see it at a login: they get `InvalidCredentials`. Elsewhere: use other credentials."],
  SelectionRefused: [{ detail: "no such project" }, "Ask for another organization, project or scope. The session is as it was; where `spent` is `maybe`, its next renewal may be refused, too."],
  Unavailable: [{ sent: "no", detail: "the connection was refused" }, "Try again later. Renewals do so themselves, with growing pauses. The session is not lost."],
  Misconfigured: [{ detail: "the client is unknown: check the client id" }, "Change what the message names. Trying again changes nothing."],
  Malformed: [{ detail: "HTML instead of JSON" }, "Check the address: this may be another server, or a proxy's page."],
  Unsupported: [{ detail: "this IAM has no device codes" }, "Use another way: the dialect cannot do this."]
}

const storageReasons = {
  StorageUnavailable: [{ detail: "permission denied: /home/ada/.local/share/effect-authn" }, "Mend what the message names: permissions, a full disk, a place that is absent."],
  StorageCorrupt: [{ detail: "it is not JSON", quarantine: "session.json.damaged" }, "Sign in again. The damaged document was moved aside if the storage could do that."],
  StorageNewerVersion: [{ found: 3, supported: 2, place: "session.json" }, "Update this program. The document is left as it is."],
  StorageConflict: [{ expected: 7, found: 8 }, "Read again, then decide again. The keeper does this itself; you meet it when you write a storage."],
  StorageKeyUnavailable: [{ detail: "the keychain is locked" }, "Unlock the keychain, or give the passphrase. Nothing was changed."],
  StorageKeyMismatch: [{ place: "session.json", detail: "is encrypted with another key" }, "Give the right key, or remove the file that the message names and sign in again."]
}

const jwtReasons = {
  Malformed: [{ detail: "it has two parts" }, "This is no JWT. An opaque token is checked by `auth.validate`."],
  AlgorithmRefused: [{ algorithm: "none", detail: "which is not allowed" }, "Refuse the token, or add the algorithm if it is one that you expect."],
  BadSignature: [{}, "Refuse the token."],
  Expired: [{ at: 1_767_225_600 }, "Get a new token: `auth.token` hands out valid ones."],
  NotYetValid: [{ at: 1_767_225_600 }, "Compare the clocks, or set `clockTolerance`."],
  WrongType: [{ expected: ["at+jwt"] }, "Refuse the token: an ID token is no access token."],
  WrongIssuer: [{ expected: ["https://id.example.com"] }, "Refuse the token. If it is a good one, `issuer` is not what the issuer calls itself."],
  WrongAudience: [{ expected: ["https://api.example.com"] }, "Refuse the token: it is for another service."],
  MissingClaim: [{ claim: "exp" }, "Refuse the token, or ask the issuer to put the claim in."],
  InvalidClaims: [{ detail: "sub is no text" }, "Correct the schema, or refuse the token."],
  UnknownKey: [{ kid: "2026-01" }, "Refuse the token: nobody of this key set signed it."],
  KeyNotUsable: [{ detail: "RSA key of 1024 bits" }, "Give another key."],
  JwksUnavailable: [{ url: "https://id.example.com/jwks", detail: "no answer within 5s" }, "Try again later. A server answers 503 meanwhile: the token may be a good one."]
}

const serverErrors = {
  Unauthorized: [{ description: "the token expired" }, "Answers 401 with `WWW-Authenticate`. The client gets a new token and tries once more."],
  InsufficientScope: [{ scope: "records:write", description: "the token's scope is too small" }, "Answers 403. The client asks for the scope that is named."],
  KeysUnavailable: [{ retryAfter: 5 }, "Answers 503, with `Retry-After`. Look at the log for what cannot be read or asked."],
  ProofRefused: [{ detail: "the proof was used before" }, "`BearerAuth` answers 401 with the `detail`. Refuse the request: the client makes a new proof for each one."]
}

const serviceErrors = {
  ServiceTokenExists: [{ name: "reports" }, "Choose another name, or revoke the token of that name first."]
}

const workload = (reason) => new Core.WorkloadIdentity.WorkloadError({ source: "Kubernetes", reason })

const workloadReasons = {
  WorkloadAbsent: [{ detail: "/var/run/secrets/idp/token is not there" }, "Run the program where its platform is, or sign in in another way. `AuthStrategy.firstOf` goes on by itself."],
  WorkloadUnavailable: [{ detail: "status 503" }, "Try again later: the platform is there, and does not answer now."],
  WorkloadBroken: [{ detail: "its token expired at 2026-01-01T00:00:00.000Z: whatever renews it has stopped" }, "Mend what the message names. Nobody else is asked in its place."]
}

const proofKeyErrors = {
  ProofKeyError: [{ detail: "the keychain is locked" }, "Unlock or provide what keeps the key, or sign in again. Callers get it as `Misconfigured`."]
}

const loginErrors = {
  BrowserNotOpened: [{ detail: "xdg-open is not installed" }, "`InteractiveStrategy.interactive` goes on with another way by itself. Otherwise open the address by hand."],
  CallbackUnavailable: [{ detail: "port 8400 is in use" }, "Give other `ports`, or end what uses this one."],
  SignInShared: [{}, "Start again. When nobody copied the address, look who else is on the machine."]
}

const sections = [
  {
    title: "What callers branch on",
    text: "`auth.token`, `auth.login` and their siblings fail with `AuthError`, the union of these and of `IamError`, `TokenStorageError` and `JwtError` below.",
    errors: callers,
    wrap: itself,
    ends: true
  },
  {
    title: "IamError",
    text: "An `IamClient` could not do what it was asked. `reason` says why, `issuer` and `method` where. The dialect classifies; no program needs to read a status code. `authn` ends with 2 where `Misconfigured` comes from its own settings (`method` is `configure`).",
    errors: iamReasons,
    wrap: iam,
    ends: true
  },
  {
    title: "TokenStorageError",
    text: "A `TokenStorage` could not do what it was asked. `reason` says why, `storage` where.",
    errors: storageReasons,
    wrap: store,
    ends: true
  },
  {
    title: "JwtError",
    text: "A token could not be read, verified or signed. No message shows a token or a key.",
    errors: jwtReasons,
    wrap: jwt,
    ends: true
  },
  {
    title: "Logins with a person",
    text: "A strategy meets these and turns them into another way, or into the failure of the login.",
    errors: loginErrors,
    wrap: itself,
    ends: false
  },
  {
    title: "WorkloadError",
    text: "A platform gave no token for the program that it runs. `source` says which. A login turns it into `NoCredentials` where nothing is there, and else into `IamError`.",
    errors: workloadReasons,
    wrap: workload,
    ends: false
  },
  {
    title: "Keys of sessions",
    text: "`ProofKeys` fails with it: where the key is to which a session is bound (RFC 9449).",
    errors: proofKeyErrors,
    wrap: itself,
    ends: false
  },
  {
    title: "Service tokens",
    text: "`ServiceTokens` of a vault fail with these, or with `TokenStorageError`.",
    errors: serviceErrors,
    wrap: itself,
    ends: false
  },
  {
    title: "The errors of a server",
    text: "`BearerAuth` fails with these; each is an answer of your API. `DpopProof` alone fails with `ProofRefused`.",
    errors: serverErrors,
    wrap: itself,
    ends: false
  }
]

const modules = modulesOf(packages[0])
const documented = new Map(modules.flatMap((module) => module.exports.map((one) => [one.name, one.text])))
const isErrorClass = (value) => typeof value === "function" && value.prototype instanceof Error && "fields" in value
const classes = new Map(
  Object.values(Core).flatMap((module) => Object.entries(module)).filter(([, value]) => isErrorClass(value))
)
// Of a reason that has no class of its own, its bullet says when.
const bulletOf = (name) =>
  (documented.get("JwtErrorReason") ?? "").split(/^- /m).filter((bullet) => bullet.split(":")[0].includes(`\`${name}\``))
    .map((bullet) => bullet.slice(bullet.indexOf(":") + 1)).join("")
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1)
const cell = (text) => text.replaceAll(/\s*\n\s*/g, " ").replaceAll("|", "\\|")

const describe = ({ errors, wrap }) =>
  Object.entries(errors).map(([name, [fields, advice]]) => {
    const reason = wrap === jwt ? { _tag: name, ...fields } : new (classes.get(name))(fields)
    const error = wrap(reason)
    const { exitCode } = Failure.describe(Cause.fail(error))
    const when = capital(firstSentence((wrap === jwt ? bulletOf(name) : documented.get(name)).trim()))
    if (when === "") throw new Error(`${name} has no JSDoc that says when it is raised`)
    return { name, when, advice, message: error.message, exitCode, isRetryable: reason.isRetryable, fields: Object.keys(wrap === jwt ? fields : classes.get(name).fields).filter((field) => field !== "_tag") }
  })

/** Every error that core exports must be here, and nothing else. */
const missing = () => {
  const wrappers = ["IamError", "TokenStorageError", "JwtError", "WorkloadError"]
  const here = new Set([...wrappers, ...sections.flatMap(({ errors, wrap }) => wrap === jwt ? [] : Object.keys(errors))])
  const reasons = Object.keys(Core.JwtError.JwtErrorReason.cases)
  return [
    ...[...classes.keys()].filter((name) => !here.has(name)),
    ...reasons.filter((name) => !(name in jwtReasons)),
    ...Object.keys(jwtReasons).filter((name) => !reasons.includes(name))
  ]
}

/** The page, by path. */
export const pages = () => {
  const gone = missing()
  if (gone.length > 0) throw new Error(`scripts/docs/errors.mjs does not describe ${gone.join(", ")}`)
  const body = sections.flatMap((section) => {
    const described = describe(section)
    const isRetryable = described.some((one) => one.isRetryable !== undefined)
    return [
      `## ${section.title}`,
      section.text,
      [
        `| ${section.wrap === itself ? "error" : "reason"} | when | what to do |${isRetryable ? " retryable |" : ""}${section.ends ? " exit code |" : ""}`,
        `| --- | --- | --- |${isRetryable ? " --- |" : ""}${section.ends ? " --- |" : ""}`,
        ...described.map((one) => {
          const retryable = isRetryable ? ` ${one.isRetryable ? "yes" : "no"} |` : ""
          return `| \`${one.name}\` | ${cell(one.when)} | ${one.advice} |${retryable}${section.ends ? ` ${one.exitCode} |` : ""}`
        })
      ].join("\n"),
      "Their fields, and an example of each message:",
      ["| | fields | message |", "| --- | --- | --- |", ...described.map(({ fields, message, name }) =>
        `| \`${name}\` | ${fields.map((field) => `\`${field}\``).join(", ")} | ${cell(message)} |`)].join("\n")
    ]
  })
  return {
    "docs/errors.md": [
      "<!-- Generated by scripts/docs.mjs from the error classes. Do not edit. -->",
      "# Errors",
      "Every failure is a typed error with a `_tag`. Its message says what happened, where, and what to do next; it holds no secret. The exit codes are those of the `authn` command.",
      "```ts\n" + example + "\n```",
      "The whole program is [examples/errors.ts](examples/errors.ts).",
      ...body
    ].join("\n\n") + "\n"
  }
}
