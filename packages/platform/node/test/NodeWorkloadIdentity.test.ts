/** The platforms that sign tokens for programs: their variables and places, and what they answer, as each documents it. */
import { WorkloadIdentity } from "@effect-authn/core"
import { NodeWorkloadIdentity } from "@effect-authn/platform-node"
import { Witness } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted, type Scope } from "effect"
import { FetchHttpClient } from "effect/http"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import * as Path from "node:path"

const audience = "https://idp.test"
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
const jwt = (claims: object = {}) =>
  `${part({ alg: "RS256", kid: "1" })}.${
    part({ aud: audience, sub: "canary-workload", exp: Math.floor(Date.now() / 1000) + 300, ...claims })
  }.canary-signature`

type Identity = WorkloadIdentity.WorkloadIdentity["Service"]

const within = (env: Record<string, string>) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))

const ask = (identity: Identity, env: Record<string, string> = {}) =>
  Effect.map(identity.token(audience), ({ token }) => Redacted.value(token)).pipe(within(env))

const refusal = (identity: Identity, env: Record<string, string> = {}) =>
  Effect.map(Effect.flip(ask(identity, env)), (error) => {
    assert.notInclude(error.message, "canary")
    return { tag: error.reason._tag, message: error.message }
  })

const directory = Effect.acquireRelease(
  Effect.promise(() => Fs.mkdtemp(Path.join(tmpdir(), "workload-"))),
  (path) => Effect.promise(() => Fs.rm(path, { recursive: true }))
)

const written = (text: string, name = "token") =>
  Effect.flatMap(directory, (directory) => {
    const path = Path.join(directory, name)
    return Effect.as(Effect.promise(() => Fs.writeFile(path, text)), path)
  })

interface Served {
  readonly host: string
  readonly asked: Array<IncomingMessage>
}

const serve = (
  answer: (request: IncomingMessage, response: ServerResponse) => void
): Effect.Effect<Served, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() =>
        new Promise<Served & { readonly stop: () => void }>((resolve) => {
          const asked: Array<IncomingMessage> = []
          const server = createServer((request, response) => {
            asked.push(request)
            answer(request, response)
          })
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            const port = typeof address === "object" && address !== null ? address.port : 0
            resolve({
              host: `127.0.0.1:${port}`,
              asked,
              stop: () => {
                server.close()
                server.closeAllConnections()
              }
            })
          })
        })
      ),
      ({ stop }) => Effect.sync(stop)
    ),
    (served) => served
  )

describe("a file", () => {
  it.live("is read at each use, through a link as kubelet makes it", () =>
    Effect.gen(function*() {
      // Kubernetes, "Configure a Pod to Use a Projected Volume for Storage": `..data` is a link that is replaced at once.
      const root = yield* directory
      const [first, second] = [jwt({ jti: "1" }), jwt({ jti: "2" })]
      const write = (name: string, token: string) =>
        Effect.promise(async () => {
          await Fs.mkdir(Path.join(root, name))
          await Fs.writeFile(Path.join(root, name, "token"), `${token}\n`)
          await Fs.symlink(name, Path.join(root, "..data_tmp"))
          await Fs.rename(Path.join(root, "..data_tmp"), Path.join(root, "..data"))
        })
      yield* write("..2026_1", first)
      yield* Effect.promise(() => Fs.symlink("..data/token", Path.join(root, "token")))
      const identity = NodeWorkloadIdentity.kubernetes({ path: Path.join(root, "token") })
      assert.strictEqual(yield* ask(identity), first)
      yield* write("..2026_2", second)
      assert.strictEqual(yield* ask(identity), second)
    }))

  const rows: Record<string, { readonly make: Effect.Effect<string, never, Scope.Scope>; readonly says: string }> = {
    "that is a directory": { make: directory, says: "is a directory" },
    "that is empty": { make: written(""), says: "is empty" },
    "of white space": { make: written(" \n\t\n"), says: "is empty" },
    "that has expired": { make: written(jwt({ exp: 1_700_000_000 })), says: "expired at 2023-11-14T22:13:20.000Z" },
    "that has expired, told in milliseconds": {
      make: written(jwt({ exp: 1_700_000_000_000 })),
      says: "expired at 2023-11-14T22:13:20.000Z"
    },
    "that is a pipe which nobody writes to": {
      make: Effect.map(directory, (root) => {
        const path = Path.join(root, "pipe")
        execFileSync("mkfifo", [path])
        return path
      }),
      says: "is not a file"
    },
    "that is a device without an end": { make: Effect.succeed("/dev/zero"), says: "is not a file" },
    "that is JSON with a token in it": {
      make: Effect.suspend(() => written(JSON.stringify({ access_token: jwt() }))),
      says: "no JWT"
    },
    "that is a key": {
      make: written("-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"),
      says: "no JWT"
    },
    "of 1 MB": { make: written("x".repeat(1_000_000)), says: "longer than 64 KiB" },
    "that is no JWT": { make: written("canary-secret"), says: "no JWT" },
    "that is not text": {
      make: Effect.tap(
        written(""),
        (path) => Effect.promise(() => Fs.writeFile(path, Buffer.from([0xff, 0xfe, 0x80])))
      ),
      says: "is not text"
    },
    "with two tokens": { make: written(`${jwt()}\n${jwt()}\n`), says: "no JWT" },
    "with a line behind the token": { make: written(`${jwt()}\ncanary\n`), says: "something behind it" },
    "whose end is not written yet": { make: written(`${jwt()}${"\0".repeat(4096)}`), says: "has NUL bytes" },
    "for another audience": { make: written(jwt({ aud: "sts.test" })), says: "is for \"sts.test\", not for" },
    "without an audience": { make: written(jwt({ aud: undefined })), says: "is for no audience" }
  }
  for (const [name, { make, says }] of Object.entries(rows)) {
    it.live(`${name} is broken, and says so`, () =>
      Effect.gen(function*() {
        const { message, tag } = yield* refusal(NodeWorkloadIdentity.file(yield* make))
        assert.strictEqual(tag, "WorkloadBroken")
        assert.include(message, says)
      }))
  }

  it.live("may begin with a byte order mark and end with line breaks", () =>
    Effect.gen(function*() {
      const token = jwt()
      assert.strictEqual(yield* ask(NodeWorkloadIdentity.file(yield* written(`\uFEFF${token}\r\n\n`))), token)
    }))

  it.live("that is not there says that the program runs elsewhere; one that a variable names has to be there", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* directory, "none")
      assert.strictEqual((yield* refusal(NodeWorkloadIdentity.file(path))).tag, "WorkloadAbsent")
      const named = yield* refusal(NodeWorkloadIdentity.azureFederated, { AZURE_FEDERATED_TOKEN_FILE: path })
      assert.strictEqual(named.tag, "WorkloadBroken")
      assert.include(named.message, "AZURE_FEDERATED_TOKEN_FILE")
    }))
})

describe("a file that a platform names", () => {
  // Microsoft, "Workload identity for Azure Kubernetes Service": AZURE_FEDERATED_TOKEN_FILE.
  // AWS, "IAM roles for service accounts": AWS_WEB_IDENTITY_TOKEN_FILE.
  const platforms = {
    AZURE_FEDERATED_TOKEN_FILE: NodeWorkloadIdentity.azureFederated,
    AWS_WEB_IDENTITY_TOKEN_FILE: NodeWorkloadIdentity.awsWebIdentity
  }
  for (const [name, identity] of Object.entries(platforms)) {
    it.live(`${name} is taken for its audience, and for no other`, () =>
      Effect.gen(function*() {
        const [own, other] = [jwt({ aud: ["x", audience] }), jwt({ aud: ["sts.amazonaws.com"] })]
        assert.strictEqual(yield* ask(identity, { [name]: yield* written(own) }), own)
        const { message, tag } = yield* refusal(identity, { [name]: yield* written(other) })
        assert.strictEqual(tag, "WorkloadAbsent")
        assert.include(message, "it is not sent there")
        assert.strictEqual((yield* refusal(identity)).tag, "WorkloadAbsent")
      }))
  }
})

describe("GitHub Actions", () => {
  const github = Effect.provide(NodeWorkloadIdentity.githubActions, FetchHttpClient.layer)
  const env = (host: string) => ({
    GITHUB_ACTIONS: "true",
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://${host}/tokens/job?api-version=2.0`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "canary-runner"
  })

  it.live("is asked with the audience, as `actions/toolkit` does it (packages/core/src/oidc-utils.ts)", () =>
    Effect.gen(function*() {
      const token = jwt()
      const served = yield* serve((_request, response) => {
        response.setHeader("content-type", "application/json; charset=utf-8")
        response.end(JSON.stringify({ count: 1857, value: token }))
      })
      assert.strictEqual(yield* ask(yield* github, env(served.host)), token)
      const [request] = served.asked
      assert.strictEqual(request?.url, `/tokens/job?api-version=2.0&audience=${encodeURIComponent(audience)}`)
      assert.strictEqual(request?.headers.authorization, "Bearer canary-runner")
    }))

  it.live("says which permission is missing", () =>
    Effect.gen(function*() {
      const { message, tag } = yield* refusal(yield* github, { GITHUB_ACTIONS: "true" })
      assert.strictEqual(tag, "WorkloadAbsent")
      assert.include(message, "id-token: write")
    }))

  it.live("is broken where a program got one of its variables, and says which one is missing", () =>
    Effect.gen(function*() {
      const { ACTIONS_ID_TOKEN_REQUEST_TOKEN, ACTIONS_ID_TOKEN_REQUEST_URL } = env("127.0.0.1:9")
      for (const one of [{ ACTIONS_ID_TOKEN_REQUEST_TOKEN }, { ACTIONS_ID_TOKEN_REQUEST_URL }]) {
        const { message, tag } = yield* refusal(yield* github, { ...one, GITHUB_ACTIONS: "true" })
        assert.strictEqual(tag, "WorkloadBroken")
        assert.match(message, /_(URL|TOKEN) is set, and .* is not: hand both on/)
      }
    }))

  it.live("is not asked over plain http", () =>
    Effect.gen(function*() {
      const { tag } = yield* refusal(yield* github, env("runner.test"))
      assert.strictEqual(tag, "WorkloadBroken")
    }))

  const answers: Record<string, { readonly status: number; readonly body: string; readonly tag: string }> = {
    "a refusal": { status: 403, body: "{\"message\":\"canary-runner is not allowed\"}", tag: "WorkloadBroken" },
    "an outage": { status: 503, body: "", tag: "WorkloadUnavailable" },
    "a redirect": { status: 302, body: "", tag: "WorkloadBroken" },
    "no token": { status: 200, body: "{\"count\":0}", tag: "WorkloadBroken" },
    "a page": { status: 200, body: "<h1>canary-runner</h1>", tag: "WorkloadBroken" }
  }
  for (const [name, { body, status, tag }] of Object.entries(answers)) {
    it.live(`and ${name} is ${tag}`, () =>
      Effect.gen(function*() {
        const served = yield* serve((_request, response) => {
          response.writeHead(status, { location: "/elsewhere" })
          response.end(body)
        })
        assert.strictEqual((yield* refusal(yield* github, env(served.host))).tag, tag)
        assert.strictEqual(served.asked.length, 1)
      }))
  }
})

describe("GitLab CI", () => {
  // GitLab, "OpenID Connect (OIDC) Authentication Using ID Tokens": the job's `id_tokens:` name the variables.
  it.live("is a variable that the job names", () =>
    Effect.gen(function*() {
      const token = jwt()
      assert.strictEqual(yield* ask(NodeWorkloadIdentity.gitlabCi(), { GITLAB_OIDC_TOKEN: token }), token)
      assert.strictEqual(yield* ask(NodeWorkloadIdentity.gitlabCi({ variable: "MY_ID" }), { MY_ID: token }), token)
      const missing = yield* refusal(NodeWorkloadIdentity.gitlabCi(), { GITLAB_CI: "true" })
      assert.include(missing.message, "id_tokens:")
      const other = yield* refusal(NodeWorkloadIdentity.gitlabCi(), { GITLAB_OIDC_TOKEN: jwt({ aud: "vault" }) })
      assert.strictEqual(other.tag, "WorkloadAbsent")
    }))
})

describe("Google Cloud metadata", () => {
  const metadata = NodeWorkloadIdentity.gcpMetadata
  const google = (status: number, body: string, headers: Record<string, string> = {}) =>
    serve((_request, response) => {
      response.writeHead(status, {
        "metadata-flavor": "Google",
        "content-type": "text/html",
        server: "Metadata Server",
        ...headers
      })
      response.end(body)
    })

  it.live("is asked as \"Verify VM identity\" says, past every proxy", () =>
    Effect.gen(function*() {
      const token = jwt()
      const served = yield* google(200, token)
      const proxy = { HTTP_PROXY: "http://127.0.0.1:9", http_proxy: "http://127.0.0.1:9", NODE_USE_ENV_PROXY: "1" }
      assert.strictEqual(yield* ask(metadata, { GCE_METADATA_HOST: served.host, ...proxy }), token)
      const [request] = served.asked
      assert.strictEqual(
        request?.url,
        `/computeMetadata/v1/instance/service-accounts/default/identity?audience=${
          encodeURIComponent(audience)
        }&format=full`
      )
      assert.strictEqual(request?.headers["metadata-flavor"], "Google")
    }))

  it.live("that redirects is broken, and the redirect is not followed", () =>
    Effect.gen(function*() {
      const target = yield* google(200, jwt())
      const served = yield* google(302, "", { location: `http://${target.host}/` })
      const { message, tag } = yield* refusal(metadata, { GCE_METADATA_HOST: served.host })
      assert.strictEqual(tag, "WorkloadBroken")
      assert.include(message, "redirects")
      assert.strictEqual(target.asked.length, 0)
    }))

  const answers: Record<string, readonly [number, string, Record<string, string>, string]> = {
    "that does not name its flavor": [200, jwt(), { "metadata-flavor": "Amazon" }, "WorkloadBroken"],
    "without a service account": [404, "canary-page", {}, "WorkloadAbsent"],
    "that refuses": [403, "canary-page", {}, "WorkloadBroken"],
    "that is busy": [503, "canary-page", {}, "WorkloadUnavailable"],
    "with a page": [200, "<html>canary-page</html>", {}, "WorkloadBroken"],
    "with nothing": [200, "", {}, "WorkloadBroken"],
    "with 1 MB": [200, "x".repeat(1_000_000), {}, "WorkloadUnavailable"],
    "with another audience": [200, jwt({ aud: "other" }), {}, "WorkloadBroken"]
  }
  for (const [name, [status, body, headers, tag]] of Object.entries(answers)) {
    it.live(`${name} is ${tag}`, () =>
      Effect.gen(function*() {
        const served = yield* google(status, body, headers)
        assert.strictEqual((yield* refusal(metadata, { GCE_METADATA_HOST: served.host })).tag, tag)
      }))
  }

  it.live("that speaks something else than HTTP is there, and does not answer now", () =>
    Effect.gen(function*() {
      const served = yield* serve((request) => request.socket.end("SSH-2.0-canary\r\n"))
      const { message, tag } = yield* refusal(metadata, { GCE_METADATA_HOST: served.host })
      assert.strictEqual(tag, "WorkloadUnavailable")
      assert.include(message, "its answer cannot be read")
    }))

  it.live("is asked at this machine, however that is written", () =>
    Effect.gen(function*() {
      const token = jwt()
      const served = yield* google(200, token)
      const port = served.host.split(":")[1]
      for (const host of ["127.0.0.1", "http://127.0.0.1", "localhost", "LOCALHOST.", "0x7f.1"]) {
        assert.strictEqual(yield* ask(metadata, { GCE_METADATA_HOST: `${host}:${port}` }), token, host)
      }
    }))

  const elsewhere = [
    "10.0.0.1",
    "metadata.evil.test",
    "169.254.169.254.evil.test",
    "127.0.0.1.evil.test",
    "localhost.evil.test",
    "user@127.0.0.1",
    "127.0.0.1/x",
    "127.0.0.1?x",
    "https://127.0.0.1",
    "[fec0::1]",
    "[fd20:ce::254]",
    "0.0.0.0",
    "[::]",
    "::1",
    "[::ffff:10.0.0.1]"
  ]
  for (const host of elsewhere) {
    it.live(`is not asked at ${host}`, () =>
      Effect.gen(function*() {
        const { message, tag } = yield* refusal(metadata, { GCE_METADATA_HOST: host })
        assert.strictEqual(tag, "WorkloadBroken")
        assert.include(message, "nothing was asked")
      }))
  }

  it.live("is not asked where neither a variable nor the firmware tells of it", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* refusal(metadata)).tag, "WorkloadAbsent")
      assert.strictEqual((yield* refusal(metadata, { NO_GCE_CHECK: "true", K_SERVICE: "s" })).tag, "WorkloadAbsent")
    }))

  it.live("with nobody there is given up within milliseconds", () =>
    Effect.gen(function*() {
      const served = yield* Effect.scoped(google(200, ""))
      const { message, tag } = yield* refusal(metadata, { GCE_METADATA_HOST: served.host })
      assert.strictEqual(tag, "WorkloadUnavailable")
      assert.include(message, "ECONNREFUSED")
    }))
})

describe("a command", () => {
  const script = (text: string) => NodeWorkloadIdentity.command([process.execPath, "-e", text, "{audience}", "$(id)"])

  it.live("gets its arguments as they are, the audience among them, and none of our variables", () =>
    Effect.gen(function*() {
      const token = jwt()
      process.env["AUTHN_CLIENT_SECRET"] = "canary-secret"
      const printed = yield* ask(script(
        `const [audience, other] = process.argv.slice(1)
         const ours = Object.keys(process.env).filter((name) => /AUTHN/.test(name))
         if (audience === ${JSON.stringify(audience)} && other === "$(id)" && ours.length === 0) {
           process.stdout.write(${JSON.stringify(token)} + "\\n")
         }`
      ))
      delete process.env["AUTHN_CLIENT_SECRET"]
      assert.strictEqual(printed, token)
    }))

  const rows: Record<string, readonly [Identity, string]> = {
    "that fails": [script("console.error('canary'); process.exit(3)"), "status 3"],
    "that prints nothing": [script(""), "it is empty"],
    "that prints 1 MB": [script("process.stdout.write('x'.repeat(1e6))"), "more than 64 KiB"],
    "that is not there": [NodeWorkloadIdentity.command(["/nowhere/at-all"]), "ENOENT"],
    // For these Node throws, for the one above it emits.
    "without a name": [NodeWorkloadIdentity.command([""]), "ERR_INVALID_ARG_VALUE"],
    "below a file": [NodeWorkloadIdentity.command(["/etc/passwd/token"]), "ENOTDIR"],
    "with an argument that no program can get": [
      NodeWorkloadIdentity.command(["echo", "a\0b"]),
      "ERR_INVALID_ARG_VALUE"
    ],
    "with too long an argument": [NodeWorkloadIdentity.command(["echo", "x".repeat(3_000_000)]), "E2BIG"]
  }
  for (const [name, [identity, says]] of Object.entries(rows)) {
    it.live(`${name} is broken, and says so`, () =>
      Effect.gen(function*() {
        const { message, tag } = yield* refusal(identity)
        assert.strictEqual(tag, "WorkloadBroken")
        assert.include(message, says)
      }))
  }
})

describe("the first platform that is there", () => {
  it.live("is taken; one that is broken ends it; none says all reasons", () =>
    Effect.gen(function*() {
      const [token, empty] = [jwt(), yield* written("")]
      const none = NodeWorkloadIdentity.file("/nowhere/token")
      const good = NodeWorkloadIdentity.file(yield* written(token))
      const bad = NodeWorkloadIdentity.file(empty)
      assert.strictEqual(yield* ask(WorkloadIdentity.firstOf(none, good, bad)), token)
      assert.strictEqual((yield* refusal(WorkloadIdentity.firstOf(none, bad, good))).tag, "WorkloadBroken")
      const { message, tag } = yield* refusal(WorkloadIdentity.firstOf(none, NodeWorkloadIdentity.azureFederated))
      assert.strictEqual(tag, "WorkloadAbsent")
      assert.include(
        message,
        "/nowhere/token is not there; Azure workload identity: AZURE_FEDERATED_TOKEN_FILE is not set"
      )
    }))

  it.live("is found by the layer, which shows no token to logs and spans", () =>
    Effect.gen(function*() {
      const token = jwt()
      const witness = Witness.make()
      const path = yield* written(token)
      yield* Effect.gen(function*() {
        const identity = yield* WorkloadIdentity.WorkloadIdentity
        const found = yield* identity.token(audience)
        assert.strictEqual(found.source, "AWS web identity")
        yield* Effect.logInfo("found", found)
      }).pipe(
        Effect.provide(Layer.provide(NodeWorkloadIdentity.layer(), FetchHttpClient.layer)),
        within({ AWS_WEB_IDENTITY_TOKEN_FILE: path }),
        witness.watch
      )
      assert.notInclude(witness.logs.join("\n") + witness.traced(), "canary")
    }))
})
