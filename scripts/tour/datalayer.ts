// The first half of the tour: a person signs in to a Datalayer-style IAM and stays signed in.
import { AuthHttpClient, AuthManager, AuthStrategy, IamClient, RefreshPolicy, StoragePolicy } from "@effect-authn/core"
import { DateTime, Duration, Effect, Option, Redacted, Result, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Simulator from "./simulator.ts"
import * as Stage from "./stage.ts"

const { claim, say, step } = Stage
const password = Redacted.make("correct-horse-battery")

const sessionFiles = (home: string) => {
  const directory = path.join(home, "data", "effect-authn", "sessions")
  return fs.existsSync(directory)
    ? fs.readdirSync(directory).filter((name) => name.endsWith(".json")).map((name) => path.join(directory, name))
    : []
}

const mode = (file: string) => (fs.statSync(file).mode & 0o777).toString(8)

export const tour = Effect.fn(function*(issuer: string, home: string) {
  const auth = yield* AuthManager.AuthManager
  const iam = yield* IamClient.IamClient
  const logins = Simulator.count(issuer, "login")

  yield* step("A wrong password")
  const refusal = yield* Effect.result(
    auth.login(AuthStrategy.password({ handle: "ada", password: Redacted.make("wrong") }))
  )
  const tag = Result.isFailure(refusal) ? refusal.failure._tag : "signed in"
  if (Result.isFailure(refusal)) yield* say(Stage.dim(refusal.failure.message))
  yield* claim("the program gets a typed error", tag === "InvalidCredentials", tag)
  yield* claim("one request, and it is not tried again", (yield* logins) === 1, "ledger")

  yield* step("Sign in")
  const policy = yield* StoragePolicy.StoragePolicy
  yield* auth.login(AuthStrategy.password({ handle: "ada", password }))
  const user = yield* auth.refreshUser
  const name = Option.getOrElse(user.displayName, () => user.id)
  yield* claim(`signed in as ${name}`, (yield* Simulator.count(issuer, "whoami")) === 1, "whoami on the ledger")
  const [file] = sessionFiles(home)
  const { message, place } = yield* policy.choice
  yield* say(Stage.dim(message.replaceAll(home, "~")))
  yield* claim("the program says where sessions lie, and why", place === "plain-file", place)
  yield* claim(
    "the session is a file for this user alone",
    file !== undefined && mode(file) === "600" && mode(path.dirname(file)) === "700",
    file === undefined ? "no file" : `${path.basename(file)}, ${mode(file)} in ${mode(path.dirname(file))}`
  )

  yield* step("Another program of the same user")
  const asked = yield* Simulator.count(issuer, "whoami")
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const said = yield* spawner.string(
    ChildProcess.make(process.execPath, [path.join(import.meta.dirname, "secondProgram.ts"), issuer])
  )
  yield* claim("finds the stored session", said.trim() === "ada", said.trim())
  yield* claim(
    "and knows whose it is without a question",
    (yield* Simulator.count(issuer, "whoami")) === asked,
    "ledger"
  )

  yield* step("Calls to an API")
  const api = yield* AuthHttpClient.make({ baseUrl: `${issuer}/api/iam/v1` })
  const answers: Array<string> = []
  for (const route of ["/me", "/memberships", "/auth", "/tokens", "/ping"]) {
    const response = yield* api.get(route)
    answers.push(`${route} ${response.status}`)
    yield* claim(`GET ${route}`, response.status === 200, `${response.status}`)
  }
  const providers = yield* HttpClient.get(
    `${issuer}/api/iam/v1/oauth2/authz/url?provider=github&callback_uri=http%3A%2F%2F127.0.0.1%2Fcallback`
  )
  yield* claim("the IAM offers sign-in with a provider", providers.status === 200, `${providers.status}`)
  const carried = (yield* Simulator.ledger(issuer)).filter((entry) => entry.route === "me")
  yield* claim("each call carried the session", carried.every((entry) => entry.authorization), "ledger")

  yield* step("Staying signed in: three renewals in the background")
  const renewals = yield* logins
  const line = Stage.timeline(9)
  yield* auth.changes.pipe(
    Stream.filter((state) => state._tag === "SignedIn"),
    Stream.map((state) => state.session.generation),
    Stream.changes,
    Stream.drop(1),
    Stream.take(3),
    Stream.runForEach(() => line.mark("renewed")),
    Effect.timeout(Duration.seconds(15)),
    Effect.ensuring(line.end)
  )
  const renewed = (yield* logins) - renewals
  yield* claim("three tokens were exchanged for new ones, nobody asked", renewed === 3, `${renewed} on the ledger`)

  yield* step("A thousand fibers ask while the token is due")
  const tokens = yield* auth.token
  const due = RefreshPolicy.freshUntil(iam.policy, tokens) - DateTime.toEpochMillis(yield* DateTime.now) + 2
  yield* Effect.sleep(Duration.millis(Math.max(due, 0)))
  const seen = yield* logins
  const handed = yield* Effect.all(Array.from({ length: 1000 }, () => auth.token), { concurrency: "unbounded" })
  yield* Effect.sleep("500 millis")
  const requests = (yield* logins) - seen
  yield* claim("each got a token", handed.length === 1000, "1000 answers")
  yield* claim("the IAM saw one request", requests === 1, `${requests} on the ledger`)

  yield* step("Looking at somebody else's token")
  const validation = yield* auth.validate(Redacted.make("not.a.token"))
  yield* claim("it is not valid", validation._tag === "Invalid", validation._tag)
  yield* claim("and our own session is untouched", yield* auth.isAuthenticated, "isAuthenticated")

  yield* step("Sign out")
  const last = yield* auth.token
  const revocation = yield* auth.logout
  const told = (yield* Simulator.ledger(issuer)).findLast((entry) => entry.route === "logout")
  yield* claim("the IAM was told", revocation._tag === "Revoked" && told?.status === 200, `logout ${told?.status}`)
  const dead = yield* HttpClient.execute(
    HttpClientRequest.bearerToken(HttpClientRequest.get(`${issuer}/api/iam/v1/me`), last.accessToken)
  )
  yield* claim("the old token is dead", dead.status === 401, `${dead.status}`)
  yield* claim("and the file is gone", sessionFiles(home).length === 0, "file system")
})
