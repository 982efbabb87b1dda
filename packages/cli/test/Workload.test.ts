/** `authn` where nobody has signed in: the platform that runs it says who it is, at an IAM that trusts the platform. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { atTerminal, expire, home } from "./authn.ts"

const audience = "https://idp.test"
const jwt = (claims: object) =>
  [{ alg: "RS256" }, { aud: audience, exp: Math.floor(Date.now() / 1000) + 300, ...claims }]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".") + ".canary"

/** An IAM that takes assertions, and counts what it was sent. */
const iam = (tokenType = "Bearer") =>
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<{ readonly issuer: string; readonly sent: Array<string>; readonly stop: () => void }>((resolve) => {
        const sent: Array<string> = []
        let issuer = ""
        const server = createServer((request, response) => {
          let text = ""
          request.on("data", (chunk) => text += String(chunk))
          request.on("end", () => {
            response.setHeader("content-type", "application/json")
            if (request.url !== "/token") {
              response.end(JSON.stringify({ issuer, token_endpoint: `${issuer}/token` }))
              return
            }
            sent.push(new URLSearchParams(text).get("assertion") ?? "")
            response.end(JSON.stringify({ access_token: "at-machine", token_type: tokenType, expires_in: 300 }))
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          issuer = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
          resolve({
            issuer,
            sent,
            stop: () => {
              server.close()
              server.closeAllConnections()
            }
          })
        })
      })
    ),
    ({ stop }) => Effect.sync(stop)
  )

const written = (text: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(tmpdir(), "authn-workload-"))),
      (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
    ),
    (directory) => {
      const file = path.join(directory, "token")
      fs.writeFileSync(file, text)
      return file
    }
  )

const named = (issuer: string) => ["login", "--dialect", "oidc", "--issuer", issuer, "--client-id", "deploy"]

const of = (issuer: string) => ({ AUTHN_DIALECT: "oidc", AUTHN_ISSUER: issuer, AUTHN_CLIENT_ID: "deploy" })

describe("a workload", () => {
  it.live("signs in as a machine, says so on stderr, is explained, and leaves nothing", () =>
    Effect.gen(function*() {
      const { issuer, sent } = yield* iam()
      const { run } = yield* home
      const token = jwt({ sub: "canary-job" })
      const env = {
        ...of(issuer),
        AUTHN_WORKLOAD_AUDIENCE: audience,
        AWS_WEB_IDENTITY_TOKEN_FILE: yield* written(token)
      }
      const printed = yield* run(["token"], { env })
      assert.deepStrictEqual([printed.code, printed.stdout], [0, "at-machine\n"], printed.stderr)
      assert.include(printed.stderr, "as a machine (workload: AWS web identity)")
      assert.deepStrictEqual(sent, [token])
      const explained = yield* run(["explain"], { env })
      assert.include(explained.stdout, "AWS web identity")
      assert.notInclude(printed.stderr + explained.stdout + explained.stderr, "canary")
    }).pipe(Effect.scoped))

  it.live("without an audience is not asked, and one that is broken is not passed over", () =>
    Effect.gen(function*() {
      const { issuer, sent } = yield* iam()
      const { run } = yield* home
      const none = yield* run(["token"], {
        env: { ...of(issuer), AWS_WEB_IDENTITY_TOKEN_FILE: yield* written(jwt({})) }
      })
      assert.strictEqual(none.code, 3)
      const unasked = yield* run(["explain"], { env: of(issuer) })
      assert.match(unasked.stdout, /workload identity +skipped +not asked, since no audience is set/)
      const env = { ...of(issuer), AUTHN_WORKLOAD_AUDIENCE: audience, AWS_WEB_IDENTITY_TOKEN_FILE: yield* written("") }
      const broken = yield* run(["token"], { env })
      assert.strictEqual(broken.code, 1)
      assert.include(broken.stderr, "is empty")
      assert.include((yield* run(["explain"], { env })).stdout, "is empty")
      const absent = yield* run(["token"], { env: { ...of(issuer), AUTHN_WORKLOAD_AUDIENCE: audience } })
      assert.strictEqual(absent.code, 3)
      assert.include(absent.stderr, "GitHub Actions")
      assert.deepStrictEqual(sent, [])
    }).pipe(Effect.scoped))

  it.live("is tried by login before a secret or a person; the account keeps the audience, and renews by it", () =>
    Effect.gen(function*() {
      const { issuer, sent } = yield* iam()
      const { run, ...rest } = yield* home
      const token = jwt({ sub: "canary-job" })
      const file = yield* written(token)
      const env = { AWS_WEB_IDENTITY_TOKEN_FILE: file, AUTHN_CLIENT_SECRET: "canary-secret" }
      const signedIn = yield* run([...named(issuer), "--workload-audience", audience], { env })
      assert.strictEqual(signedIn.code, 0, signedIn.stderr)
      assert.include(signedIn.stderr, "as a machine (workload: AWS web identity)")
      assert.deepStrictEqual(sent, [token])
      const account = { directory: rest.directory, env: {}, run, spawn: rest.spawn }
      const at = { env: { AWS_WEB_IDENTITY_TOKEN_FILE: file } }
      const stands = yield* run(["token"], at)
      assert.deepStrictEqual([stands.code, stands.stdout, stands.stderr], [0, "at-machine\n", ""])
      assert.deepStrictEqual(sent.length, 1)

      // another process, which is told nothing but where the platform's file is
      expire(account, Date.now() - 1000)
      const renewed = yield* run(["token"], at)
      assert.deepStrictEqual([renewed.code, renewed.stdout], [0, "at-machine\n"], renewed.stderr)
      assert.deepStrictEqual(sent, [token, token])
      assert.include((yield* run(["status"])).stdout, "by workload")
      expire(account, Date.now() - 1000)
      const elsewhere = yield* run(["token"])
      assert.strictEqual(elsewhere.code, 1, elsewhere.stderr)
      assert.include(elsewhere.stderr, "AWS_WEB_IDENTITY_TOKEN_FILE")

      // again, told nothing at all
      const { code, stdout } = yield* run(["login", "--json"], at)
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(
        JSON.parse(stdout).tried.map((one: Record<string, string>) => [one["source"], one["verdict"]]),
        [["environment", "skipped"], ["stored session", "skipped"], ["workload identity", "used"]]
      )
      // a variable that is of another IAM, for all that is known
      const foreign = yield* run(["login", "--json"], {
        env: { ...at.env, AUTHN_WORKLOAD_AUDIENCE: "https://other.test" }
      })
      assert.include(JSON.parse(foreign.stdout).tried[2].reason, audience)
      assert.notInclude(signedIn.stderr + renewed.stderr + elsewhere.stderr + stdout, "canary")
    }).pipe(Effect.scoped))

  it.live("is not presented to another IAM than the one that is named beside the audience", () =>
    Effect.gen(function*() {
      const [own, other] = [yield* iam(), yield* iam()]
      const { directory, run } = yield* home
      const platform = { AWS_WEB_IDENTITY_TOKEN_FILE: yield* written(jwt({ sub: "job" })) }
      const audienceOf = { ...platform, AUTHN_WORKLOAD_AUDIENCE: audience }
      const both = { ...audienceOf, AUTHN_ISSUER: own.issuer, AUTHN_CLIENT_ID: "deploy" }
      for (const env of [both, { ...audienceOf, AUTHN_CLIENT_ID: "another" }]) {
        const { code, stderr } = yield* run(named(other.issuer), { env })
        assert.strictEqual(code, 2, stderr)
        assert.include(stderr, "AUTHN_WORKLOAD_AUDIENCE is not used: beside it the")
      }
      const config = path.join(directory, ".config/effect-authn")
      fs.mkdirSync(config, { recursive: true })
      const file = path.join(config, "config.toml")
      const ofFile = (issuer: string) => `dialect = "oidc"\nissuer = "${issuer}"\nclient_id = "deploy"\n`
      fs.writeFileSync(file, ofFile(own.issuer) + `workload_audience = "${audience}"\n`)
      const foreign = yield* run(named(other.issuer), { env: platform })
      assert.strictEqual(foreign.code, 2, foreign.stderr)
      assert.include(foreign.stderr, `workload_audience in ${file} is not used: beside it the`)
      assert.strictEqual((yield* run(["token"], { env: platform })).code, 0)
      fs.writeFileSync(file, ofFile(other.issuer))
      const nobody = yield* run(["token"], { env: audienceOf })
      assert.strictEqual(nobody.code, 3, nobody.stderr)
      assert.include(nobody.stderr, "AUTHN_WORKLOAD_AUDIENCE is not used, since nothing says")
      assert.include((yield* run(["explain"], { env: audienceOf })).stdout, "AUTHN_WORKLOAD_AUDIENCE")
      assert.deepStrictEqual(other.sent, [])

      fs.rmSync(file)
      const alone = yield* run(named(other.issuer), { env: audienceOf })
      assert.strictEqual(alone.code, 0, alone.stderr)
      const theirs = yield* run([...named(own.issuer), "--account", "own"], { env: both })
      assert.strictEqual(theirs.code, 0, theirs.stderr)
      assert.deepStrictEqual([other.sent.length, own.sent.length], [1, 2])
    }).pipe(Effect.scoped))

  it.live("is not tried by login without an audience or beside a flag that names a way, and nobody replaces a broken one", () =>
    Effect.gen(function*() {
      const { issuer, sent } = yield* iam()
      const { run } = yield* home
      const good = { AWS_WEB_IDENTITY_TOKEN_FILE: yield* written(jwt({})) }
      const unnamed = yield* run(named(issuer), { env: good })
      assert.strictEqual(unnamed.code, 2)
      assert.notInclude(unnamed.stderr, "machine")
      const asked = [...named(issuer), "--workload-audience", audience]
      const pasted = yield* run([...asked, "--token-stdin"], { env: good, input: "at-own\n" })
      assert.strictEqual(pasted.code, 0, pasted.stderr)
      assert.notInclude(pasted.stderr, "as a machine")
      yield* run(["accounts", "remove", "default"])

      const broken = { AWS_WEB_IDENTITY_TOKEN_FILE: yield* written(""), AUTHN_CLIENT_SECRET: "secret" }
      const ended = yield* run(asked, { env: broken })
      assert.strictEqual(ended.code, 1)
      assert.include(ended.stderr, "is empty")
      const nowhere = yield* run(asked)
      assert.strictEqual(nowhere.code, 2)
      assert.include(nowhere.stderr, "--browser")
      assert.include(nowhere.stderr, "GitHub Actions")
      const taken = yield* run([...named(issuer), "--workload-audience", ""], {
        env: { ...good, AUTHN_WORKLOAD_AUDIENCE: audience }
      })
      assert.strictEqual(taken.code, 2)
      assert.deepStrictEqual(sent, [])
    }).pipe(Effect.scoped))

  it.live("that is absent leaves the login to the client's secret, else to a person, who is told", () =>
    Effect.gen(function*() {
      const { issuer, sent } = yield* iam()
      const there = yield* home
      const asked = [...named(issuer), "--workload-audience", audience]
      const bySecret = yield* there.run(asked, { env: { AUTHN_CLIENT_SECRET: "secret" } })
      assert.strictEqual(bySecret.code, 0, bySecret.stderr)
      assert.deepStrictEqual(sent, [""])
      const { code, shown } = yield* atTerminal(there, [...asked, "--account", "ada"], [["Sign in with", "\x03"]])
      assert.strictEqual(code, 130, shown)
      assert.include(shown, "No platform says who this program is")
    }).pipe(Effect.scoped))
})
