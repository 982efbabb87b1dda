// Programs of docs/examples that speak to servers, each run as a reader would run it.
import { JwtCodec } from "@effect-authn/core"
import { IamSimulator, OidcProvider, PostgresServer } from "@effect-authn/testing"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted, type Schema, Stream } from "effect"
import { ChildProcess } from "effect/process"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { run } from "./run.ts"

const root = path.join(import.meta.dirname, "../..")
const example = (name: string) => path.join(root, `docs/examples/${name}.ts`)

/** An environment with a home of its own, and nothing of the machine's accounts. */
const home = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-authn-programs-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  ),
  (directory) => ({
    HOME: directory,
    XDG_DATA_HOME: path.join(directory, "data"),
    XDG_CONFIG_HOME: path.join(directory, "config"),
    AUTHN_STORAGE: "plain-file"
  })
)

/** An API that answers with the header that it got. */
const api = Effect.map(
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<http.Server>((resolve) => {
        const server = http.createServer((request, response) => response.end(request.headers.authorization))
        server.listen(0, "127.0.0.1", () => resolve(server))
      })
    ),
    (server) => Effect.sync(() => server.close())
  ),
  (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
)

const runs = (args: ReadonlyArray<string>, env: Record<string, string>) =>
  Effect.map(run(process.execPath, args, { env }), ({ code, stderr, stdout }) => {
    assert.strictEqual(code, 0, `${args.join(" ")}\n${stdout}\n${stderr}`)
    return stdout.trim()
  })

/** What `authn login` and a program share: the same provider, client and place. */
const signedIn = Effect.gen(function*() {
  const provider = yield* OidcProvider.OidcProvider
  const { id, secret } = provider.secretClient
  const env = {
    ...(yield* home),
    AUTHN_ISSUER: provider.issuer,
    AUTHN_CLIENT_ID: id,
    AUTHN_CLIENT_SECRET: Redacted.value(secret)
  }
  const authn = (...args: ReadonlyArray<string>) => runs([path.join(root, "packages/cli/src/main.ts"), ...args], env)
  yield* authn(
    "login",
    "--dialect",
    "oidc",
    "--issuer",
    provider.issuer,
    "--client-id",
    id,
    "--storage",
    "plain-file"
  )
  const requests = Effect.map(
    provider.proxy.ledger,
    (entries) => entries.filter(({ route }) => route === "token").length
  )
  return { authn, env, requests }
})

describe("the session of authn login", () => {
  it.live("is the one of docs/examples/shared-session.ts: no second login, one request at the provider", () =>
    Effect.gen(function*() {
      const { authn, env, requests } = yield* signedIn
      const said = yield* runs([example("shared-session")], { ...env, API_URL: yield* api })
      assert.strictEqual(said, `200 Bearer ${yield* authn("token")}`)
      assert.strictEqual(yield* requests, 1)
    }).pipe(Effect.scoped, Effect.provide(OidcProvider.layer())))

  it.live("is the one of docs/examples/without-effect.ts, whose program ends by itself", () =>
    Effect.gen(function*() {
      const { authn, env, requests } = yield* signedIn
      const script = `const { fetchWithToken } = await import(${JSON.stringify(example("without-effect"))})
        console.log(await (await fetchWithToken(${JSON.stringify(yield* api)})).text())`
      const said = yield* runs(["--input-type=module", "-e", script], env)
      assert.strictEqual(said, `Bearer ${yield* authn("token")}`)
      assert.strictEqual(yield* requests, 1)
    }).pipe(Effect.scoped, Effect.provide(OidcProvider.layer())))
})

/** An issuer with a key, and what signs tokens with it. */
const issuer = Effect.gen(function*() {
  const codec = yield* JwtCodec.make
  const { privateKey, publicKey } = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })
  const key = Redacted.make({ ...privateKey.export({ format: "jwk" }), kty: "EC", alg: "ES256" })
  const server = yield* Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<http.Server>((resolve) => {
        const server = http.createServer((request, response) => {
          const origin = `http://${request.headers.host}`
          const keys = { keys: [publicKey.export({ format: "jwk" })] }
          response.setHeader("content-type", "application/json")
          response.end(JSON.stringify(request.url === "/jwks" ? keys : { issuer: origin, jwks_uri: `${origin}/jwks` }))
        })
        server.listen(0, "127.0.0.1", () => resolve(server))
      })
    ),
    (server) => Effect.sync(() => server.close())
  )
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const sign = (claims: Schema.JsonObject) =>
    Effect.map(codec.sign({ iss: url, exp: Math.floor(Date.now() / 1000) + 600, ...claims }, key), Redacted.value)
  return { url, sign }
})

describe("docs/examples/protected-api.ts", () => {
  it.live("lets the tokens of its issuer pass, and says to others what is missing", () =>
    Effect.gen(function*() {
      const { sign, url } = yield* issuer
      const server = yield* ChildProcess.make(process.execPath, [example("protected-api")], {
        env: { AUTH_ISSUER: url, AUTH_AUDIENCE: "notes", PORT: "0" },
        extendEnv: true,
        stdin: "ignore"
      })
      const address = yield* Stream.decodeText(server.stdout).pipe(
        Stream.splitLines,
        Stream.map((line) => /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0]),
        Stream.filter((found) => found !== undefined),
        Stream.runHead,
        Effect.map(Option.getOrThrow)
      )
      const call = (method: string, headers: Record<string, string>) =>
        Effect.promise(() => fetch(`${address}/notes`, { method, headers }))
      const good = { authorization: `Bearer ${yield* sign({ sub: "ada", aud: "notes" })}` }

      const listed = yield* call("GET", good)
      assert.deepStrictEqual([listed.status, yield* Effect.promise(() => listed.json())], [200, [
        "a note of ada"
      ]])
      const added = yield* call("POST", good)
      assert.strictEqual(added.status, 403)
      assert.include(added.headers.get("www-authenticate"), "scope=\"notes:write\"")
      assert.strictEqual((yield* call("GET", {})).status, 401)
      assert.strictEqual((yield* call("GET", { authorization: `${good.authorization}x` })).status, 401)
      const other = { authorization: `Bearer ${yield* sign({ sub: "ada", aud: "mail" })}` }
      assert.strictEqual((yield* call("GET", other)).status, 401)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)))
})

describe("docs/examples/two-machines.ts", () => {
  it.live.runIf(PostgresServer.isThere)(
    "signs in once, whichever of two processes on PostgreSQL comes first",
    () =>
      Effect.gen(function*() {
        const iam = yield* IamSimulator.IamSimulator
        const postgres = yield* PostgresServer.PostgresServer
        const env = {
          ...(yield* home),
          DATABASE_URL: postgres.url(),
          DATALAYER_IAM_URL: iam.issuer,
          AUTHN_KEY: "A".repeat(43),
          IAM_PASSWORD: "correct-horse-battery"
        }
        const once = runs([example("two-machines")], env)
        const first = yield* once
        assert.match(first, /^\d+$/)
        assert.deepStrictEqual([yield* once, yield* once], [first, first])
        const logins = (yield* iam.ledger).filter(({ route }) => route === "login")
        assert.strictEqual(logins.length, 1)
        const rows = yield* postgres.psql(
          "SELECT count(*), bool_and(document LIKE '%sealed%') FROM effect_authn_sessions"
        )
        assert.strictEqual(rows, "1|t")
      }).pipe(Effect.scoped, Effect.provide([IamSimulator.layer(), PostgresServer.layer()]))
  )
})
