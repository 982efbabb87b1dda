// The first part: a person signs in to a Datalayer-style IAM, and they and their programs stay signed in.
import { AuthManager, IamClient, RefreshPolicy } from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { NodeAuth, NodeStorage } from "@effect-authn/platform-node"
import { DateTime, Duration, Effect, Option, Redacted, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import * as fs from "node:fs"
import * as path from "node:path"
import { meanwhile, password, visit } from "./person.ts"
import * as Simulator from "./simulator.ts"
import * as Stage from "./stage.ts"
import type { Terminal } from "./terminal.ts"

const { claim, say, step } = Stage

const mode = (file: string) => (fs.statSync(file).mode & 0o777).toString(8)

/** A program with the library: it finds the session that the command has stored. */
const program = Effect.fn(function*(issuer: string) {
  const auth = yield* AuthManager.AuthManager
  const iam = yield* IamClient.IamClient
  const logins = Simulator.count(issuer, "login")

  yield* step("A program of yours, with the library")
  const asked = (yield* Simulator.ledger(issuer)).length
  yield* auth.login()
  const handle = Option.flatMap(yield* auth.whoami, (user) => user.handle)
  yield* claim("it finds the session of the command", Option.contains(handle, "ada"), "signed in as ada")
  yield* claim("and asked nobody", (yield* Simulator.ledger(issuer)).length === asked, "ledger")

  yield* step("It stays signed in: three renewals in the background")
  yield* Simulator.setTokenLifetime(issuer, "1500 millis")
  yield* auth.refresh()
  const renewals = yield* logins
  yield* say(Stage.dim("from now on, the IAM's tokens live for a second and a half"))
  const line = Stage.timeline(6)
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

  yield* step("A thousand of its fibers ask while the token is due")
  const tokens = yield* auth.token
  const due = RefreshPolicy.freshUntil(iam.policy, tokens) - DateTime.toEpochMillis(yield* DateTime.now) + 2
  yield* Effect.sleep(Duration.millis(Math.max(due, 0)))
  yield* Simulator.setTokenLifetime(issuer, "1 minute")
  const seen = yield* logins
  const handed = yield* Effect.all(Array.from({ length: 1000 }, () => auth.token), { concurrency: "unbounded" })
  yield* Effect.sleep("300 millis")
  const requests = (yield* logins) - seen
  yield* claim("each got a token", handed.length === 1000, "1000 answers")
  yield* claim("the IAM saw one request", requests === 1, `${requests} on the ledger`)
})

export const tour = Effect.fn(function*(issuer: string, { authn, opened, sessions }: Terminal) {
  const logins = Simulator.count(issuer, "login")
  const login = (typed: string) =>
    authn(["login", "--dialect", "datalayer", "--issuer", issuer, "--handle", "ada", "--password-stdin"], {
      from: "cat password",
      input: `${typed}\n`
    })

  yield* step("A wrong password")
  const refused = yield* login("wrong")
  yield* claim("it says why, and ends with 1", refused.code === 1, `exit code ${refused.code}`)
  yield* claim("one request, and it is not tried again", (yield* logins) === 1, "ledger")

  yield* step("Sign in")
  const signedIn = yield* login(password)
  yield* claim("signed in as ada", signedIn.code === 0 && (yield* logins) === 2, "ledger")
  yield* claim("it says where the session is kept", signedIn.stderr.includes("is kept in"))
  const [file] = sessions()
  yield* claim(
    "that is a file for this user alone",
    file !== undefined && mode(file) === "600" && mode(path.dirname(file)) === "700",
    file === undefined ? "no file" : `${path.basename(file)}, ${mode(file)} in ${mode(path.dirname(file))}`
  )

  yield* step("Who is it, and for how long?")
  const asked = yield* Simulator.count(issuer, "whoami")
  const who = yield* authn(["whoami"])
  yield* claim(
    "the IAM was asked",
    who.code === 0 && (yield* Simulator.count(issuer, "whoami")) === asked + 1,
    "whoami on the ledger"
  )
  const seen = (yield* Simulator.ledger(issuer)).length
  const status = yield* authn(["status"])
  yield* claim(
    "what the session knows needs no question",
    status.code === 0 && (yield* Simulator.ledger(issuer)).length === seen,
    "ledger"
  )

  yield* step("Call an API, from any program")
  const token = yield* authn(["token"])
  yield* claim("a token that is valid now", token.code === 0, `${token.stdout.trim().length} characters`)
  const routes = ["/me", "/memberships", "/auth", "/tokens", "/ping"]
  const calls = yield* authn(["exec", "--", "node", "calls.ts", `${issuer}/api/iam/v1`, ...routes])
  yield* claim(`${routes.length} calls were answered`, calls.code === 0, `exit code ${calls.code}`)
  const carried = (yield* Simulator.ledger(issuer)).filter(({ route }) => route === "me" || route === "tokens")
  yield* claim(
    "they carried the token",
    carried.length === 2 && carried.every((entry) => entry.authorization),
    "ledger"
  )

  const storage = NodeStorage.layer({ policy: "plain-file" })
  yield* program(issuer).pipe(
    Effect.provide(NodeAuth.layer(DatalayerIam.layer({ issuer }), { storage })),
    Effect.scoped
  )

  yield* step("Somebody else's token")
  const before = file === undefined ? "" : fs.readFileSync(file, "utf8")
  const stranger = yield* authn(["whoami"], { env: { AUTHN_TOKEN: "not.a.token" } })
  yield* claim("it is not valid", stranger.code !== 0 && stranger.stdout === "", `exit code ${stranger.code}`)
  yield* claim("our own session is untouched", fs.readFileSync(file!, "utf8") === before, "file system")

  yield* step("Sign in with the page of another provider, in a browser")
  const browsed = yield* authn([
    "login",
    "--account",
    "github",
    "--dialect",
    "datalayer",
    "--issuer",
    issuer,
    "--browser",
    "--provider",
    "github"
  ]).pipe(meanwhile(Effect.flatMap(opened(1), ([url]) => visit(url!))))
  yield* claim("the person of the browser is signed in", browsed.code === 0, `exit code ${browsed.code}`)
  yield* claim("beside the first account", sessions().length === 2, `${sessions().length} session files`)

  yield* step("Sign out")
  const last = (yield* authn(["token"])).stdout.trim()
  const out = yield* authn(["logout", "--all"])
  const told = (yield* Simulator.ledger(issuer)).filter(({ route }) => route === "logout").map(({ status }) => status)
  yield* claim(
    "the IAM was told",
    out.code === 0 && told.length === 2 && told.every((status) => status === 200),
    `logout ${told.join(", ")}`
  )
  const dead = yield* HttpClient.execute(
    HttpClientRequest.bearerToken(HttpClientRequest.get(`${issuer}/api/iam/v1/me`), Redacted.make(last))
  )
  yield* claim("the old token is dead", dead.status === 401, `${dead.status}`)
  yield* claim("the files are gone", sessions().length === 0, "file system")
  const none = yield* authn(["token"])
  yield* claim("and scripts are told so", none.code === 3, `exit code ${none.code}`)
})
