/** `authn` where nobody has signed in: the platform that runs it says who it is, at an IAM that trusts the platform. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { home } from "./authn.ts"

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
})
