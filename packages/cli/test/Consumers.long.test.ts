import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { execFileSync, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { createServer } from "node:http"
import { homedir } from "node:os"
import * as path from "node:path"
import { type Home, login, main, provided, simulated } from "./authn.ts"

/** A git server over http that wants the token as password, by git's own `http-backend`. */
const gitServer = (root: string, isGood: (token: string) => boolean) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly host: string; readonly stop: () => void; readonly refused: () => number }>((resume) => {
      let refused = 0
      const server = createServer((request, response) => {
        const [, basic = ""] = /^Basic (.+)$/.exec(request.headers.authorization ?? "") ?? []
        const [, token = ""] = Buffer.from(basic, "base64").toString().split(":")
        if (!isGood(token)) {
          refused += 1
          response.writeHead(401, { "www-authenticate": "Basic realm=\"git\"" }).end()
          return
        }
        const url = new URL(request.url ?? "/", "http://x")
        const backend = spawn("git", ["http-backend"], {
          env: {
            PATH: process.env["PATH"],
            GIT_PROJECT_ROOT: root,
            GIT_HTTP_EXPORT_ALL: "1",
            REQUEST_METHOD: request.method,
            PATH_INFO: url.pathname,
            QUERY_STRING: url.search.slice(1),
            CONTENT_TYPE: request.headers["content-type"] ?? "",
            REMOTE_USER: "ada"
          }
        })
        request.pipe(backend.stdin)
        const chunks: Array<Buffer> = []
        backend.stdout.on("data", (chunk: Buffer) => chunks.push(chunk))
        backend.on("close", () => {
          const all = Buffer.concat(chunks)
          const at = all.indexOf("\r\n\r\n")
          for (const line of all.subarray(0, at).toString().split("\r\n")) {
            const [name = "", value = ""] = line.split(": ")
            if (name === "Status") response.statusCode = Number.parseInt(value, 10)
            else response.setHeader(name, value)
          }
          response.end(all.subarray(at + 4))
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const stop = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ host: `127.0.0.1:${port}`, stop, refused: () => refused }))
      })
    }),
    ({ stop }) => Effect.sync(stop)
  )

// Where the package manager of this repository is unpacked already.
const npx = { npm_config_cache: path.join(homedir(), ".npm") }

const git = (home: Home, args: ReadonlyArray<string>) =>
  Effect.callback<{ readonly code: number | null; readonly stderr: string }>((resume) => {
    const child = spawn("git", args, {
      env: { ...home.env, GIT_TERMINAL_PROMPT: "0", GIT_CONFIG_NOSYSTEM: "1", NO_PROXY: "*" },
      stdio: ["ignore", "ignore", "pipe"]
    })
    let stderr = ""
    child.stderr.on("data", (chunk) => {
      stderr += String(chunk)
    })
    child.on("close", (code) => resume(Effect.succeed({ code, stderr })))
  })

/** Debian's registry, for whoever has the token, and for bob. */
const dockerRegistry = (home: Home, token: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const directory = path.join(home.directory, "registry")
      fs.mkdirSync(directory)
      const users = path.join(directory, "users")
      for (const [name, password] of [["oauth2", token], ["bob", "bobs-password"]] as const) {
        const line = execFileSync("htpasswd", ["-nbB", name, password], { encoding: "utf8" })
        fs.appendFileSync(users, `${line.trim()}\n`)
      }
      const config = path.join(directory, "config.yml")
      fs.writeFileSync(
        config,
        [
          "version: 0.1",
          "log: { level: info }",
          `storage: { filesystem: { rootdirectory: ${JSON.stringify(path.join(directory, "data"))} } }`,
          "http: { addr: \"127.0.0.1:0\" }",
          `auth: { htpasswd: { realm: test, path: ${JSON.stringify(users)} } }`
        ].join("\n")
      )
      return spawn("docker-registry", ["serve", config], { stdio: ["ignore", "ignore", "pipe"] })
    }),
    (child) => Effect.sync(() => child.kill())
  ).pipe(
    Effect.flatMap((child) =>
      Effect.callback<{ readonly host: string }>((resume) => {
        child.stderr.on("data", (chunk) => {
          const [, host] = /listening on (127\.0\.0\.1:\d+)/.exec(String(chunk)) ?? []
          if (host !== undefined) resume(Effect.succeed({ host }))
        })
      })
    )
  )

/** Skopeo, with the helper of this command for one registry. */
const credentialHelper = Effect.fnUntraced(function*(home: Home, host: string) {
  const bin = path.join(home.directory, "bin")
  fs.mkdirSync(bin)
  fs.writeFileSync(
    path.join(bin, "docker-credential-authn"),
    `#!/bin/sh\nexec "${process.execPath}" "${main}" credential docker "$@"\n`,
    { mode: 0o755 }
  )
  fs.mkdirSync(path.join(home.directory, ".docker"))
  fs.writeFileSync(
    path.join(home.directory, ".docker/config.json"),
    JSON.stringify({ credHelpers: { [host]: "authn" } })
  )
  const policy = path.join(home.directory, "policy.json")
  fs.writeFileSync(policy, `{"default":[{"type":"insecureAcceptAnything"}]}`)
  const config = path.join(home.directory, ".docker/config.json")
  return (...args: ReadonlyArray<string>) =>
    Effect.callback<{ readonly code: number | null; readonly stderr: string }>((resume) => {
      const child = spawn("skopeo", ["--policy", policy, ...args], {
        env: { ...home.env, PATH: `${bin}:${process.env["PATH"]}`, REGISTRY_AUTH_FILE: config, NO_PROXY: "*" },
        stdio: ["ignore", "ignore", "pipe"]
      })
      let stderr = ""
      child.stderr.on("data", (chunk) => stderr += String(chunk))
      child.on("close", (code) => resume(Effect.succeed({ code, stderr })))
    })
})

/** An image of the OCI's layout that has no layer. */
const emptyImage = (directory: string): string => {
  fs.mkdirSync(path.join(directory, "blobs/sha256"), { recursive: true })
  const blob = (content: object) => {
    const text = JSON.stringify(content)
    const digest = createHash("sha256").update(text).digest("hex")
    fs.writeFileSync(path.join(directory, "blobs/sha256", digest), text)
    return { digest: `sha256:${digest}`, size: text.length }
  }
  const config = blob({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [] } })
  const manifest = blob({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: []
  })
  fs.writeFileSync(path.join(directory, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`)
  fs.writeFileSync(
    path.join(directory, "index.json"),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", ...manifest }]
    })
  )
  return directory
}

// https://kubernetes.io/docs/reference/config-api/client-authentication.v1/#client-authentication-k8s-io-v1-ExecCredential
const ExecCredential = Schema.Struct({
  apiVersion: Schema.Literals(["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]),
  kind: Schema.Literal("ExecCredential"),
  status: Schema.Struct({
    expirationTimestamp: Schema.String.check(Schema.isPattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)),
    token: Schema.NonEmptyString
  })
})

// https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
const ProcessCredential = Schema.Struct({
  Version: Schema.Literal(1),
  AccessKeyId: Schema.NonEmptyString,
  SecretAccessKey: Schema.NonEmptyString,
  SessionToken: Schema.NonEmptyString,
  Expiration: Schema.String.check(Schema.isPattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/))
})

const exact = { onExcessProperty: "error" } as const

const speaksProtocols = Effect.fnUntraced(function*(home: Home, versions: ReadonlyArray<string> = ["v1"]) {
  const { expiresAt, token } = JSON.parse((yield* home.run(["token", "--json"])).stdout)
  const expiry = Math.floor(Date.parse(expiresAt) / 1000)
  assert.isAbove(expiry, Date.now() / 1000)
  for (const version of versions) {
    const info = JSON.stringify({
      apiVersion: `client.authentication.k8s.io/${version}`,
      kind: "ExecCredential",
      spec: { interactive: false }
    })
    const { stdout } = yield* home.spawn(["credential", "kubectl"], { env: { KUBERNETES_EXEC_INFO: info } })
    const credential = yield* Schema.decodeUnknownEffect(ExecCredential)(JSON.parse(stdout), exact)
    assert.strictEqual(credential.apiVersion, `client.authentication.k8s.io/${version}`)
    assert.strictEqual(credential.status.token, token)
    assert.strictEqual(Date.parse(credential.status.expirationTimestamp) / 1000, expiry)
  }
  const { stdout } = yield* home.spawn(["credential", "process", "--access-key-id", "ada"])
  const credential = yield* Schema.decodeUnknownEffect(ProcessCredential)(JSON.parse(stdout), exact)
  assert.deepStrictEqual([credential.AccessKeyId, credential.SessionToken], ["ada", token])
  assert.strictEqual(Date.parse(credential.Expiration) / 1000, expiry)
  const input = "protocol=https\nhost=git.example.com\n\n"
  const git = yield* home.spawn(["credential", "git", "--host", "git.example.com", "get"], { input })
  assert.strictEqual(git.stdout, `username=oauth2\npassword=${token}\npassword_expiry_utc=${expiry}\n`)
})

describe("consumers", () => {
  it.live("git clones with the session's token, and gets another one when that is refused", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const root = path.join(home.directory, "repositories")
        const work = path.join(home.directory, "work")
        const run = (...args: ReadonlyArray<string>) => execFileSync("git", args, { env: home.env, stdio: "ignore" })
        run("init", "--quiet", work)
        fs.writeFileSync(path.join(work, "file"), "content")
        run("-C", work, "add", ".")
        run("-C", work, "-c", "user.name=ada", "-c", "user.email=ada@example.org", "commit", "--quiet", "-m", "first")
        run("clone", "--quiet", "--bare", work, path.join(root, "demo.git"))

        yield* login(home, simulator.issuer, "datalayer")
        const first = (yield* home.run(["token"])).stdout.trim()
        let good = (token: string) => token === first
        const server = yield* gitServer(root, (token) => good(token))
        const clone = (to: string, host = server.host) =>
          git(home, [
            "-c",
            `credential.helper=!'${process.execPath}' '${main}' credential git --host ${host}`,
            "clone",
            "--quiet",
            `http://${server.host}/demo.git`,
            path.join(home.directory, to)
          ])
        const cloned = yield* clone("one")
        assert.strictEqual(cloned.code, 0, cloned.stderr)
        assert.strictEqual(fs.readFileSync(path.join(home.directory, "one/file"), "utf8"), "content")

        // the host has revoked it: git tells the helper, whose next answer is another token
        good = (token) => token !== "" && token !== first
        assert.notStrictEqual((yield* clone("two")).code, 0)
        const again = yield* clone("three")
        assert.strictEqual(again.code, 0, again.stderr)

        const before = (yield* simulator.ledger).length
        assert.notStrictEqual(
          (yield* clone("four", "git.example.com")).code,
          0,
          "a host that is not named gets nothing"
        )
        assert.strictEqual((yield* simulator.ledger).length, before)
      })))

  it.live("answers git for named hosts only, and over https only", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "datalayer")
        const ask = (input: string, operation = "get") =>
          Effect.map(home.run(["credential", "git", "--host", "git.example.com", operation], { input }), ({ stdout }) =>
            stdout)
        assert.match(
          yield* ask("protocol=https\nhost=git.example.com\n\n"),
          /^username=oauth2\npassword=eyJ.*\npassword_expiry_utc=\d+\n$/
        )
        assert.match(
          yield* ask("capability[]=authtype\nprotocol=https\nhost=git.example.com\nwwwauth[]=Bearer realm=\"git\"\n\n"),
          /authtype=Bearer\ncredential=eyJ/
        )
        assert.strictEqual(yield* ask("protocol=http\nhost=git.example.com\n\n"), "")
        assert.strictEqual(yield* ask("protocol=https\nhost=evil.example.com\n\n"), "")
        assert.strictEqual(yield* ask("protocol=https\nhost=git.example.com\n\n", "store"), "")
        assert.strictEqual(yield* ask("protocol=https\nhost=git.example.com\n\n", "something-new"), "")
      })))

  for (const dialect of ["datalayer", "genomcore"] as const) {
    it.live(`speaks kubectl's, AWS's and git's protocols (${dialect})`, () =>
      simulated({}, (simulator, home) =>
        Effect.gen(function*() {
          yield* login(home, simulator.issuer, dialect)
          yield* speaksProtocols(home, ["v1", "v1beta1"])
        })))
  }

  it.live("speaks them with the opaque tokens of an OpenID provider", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const { id, secret } = provider.secretClient
        const named = ["--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id]
        const signedIn = yield* home.run(["login", ...named, "--client-secret-stdin"], {
          input: Redacted.value(secret)
        })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        yield* speaksProtocols(home)
      })
    ))

  it.live(
    "skopeo copies an image to a registry that wants the session's token as password",
    () =>
      provided((provider, home) =>
        Effect.gen(function*() {
          const { id, secret } = provider.secretClient
          const signedIn = yield* home.run(
            ["login", "--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id, "--client-secret-stdin"],
            { input: Redacted.value(secret) }
          )
          assert.strictEqual(signedIn.code, 0, signedIn.stderr)
          const token = (yield* home.run(["token"])).stdout.trim()
          const registry = yield* dockerRegistry(home, token)
          const skopeo = yield* credentialHelper(home, registry.host)

          // an image without layers, as the OCI's layout has it
          const image = emptyImage(path.join(home.directory, "image"))
          const push = () =>
            skopeo("copy", "--dest-tls-verify=false", `oci:${image}`, `docker://${registry.host}/demo:1`)
          const refused = yield* push()
          assert.notStrictEqual(refused.code, 0)

          const added = yield* home.run(["accounts", "host", "add", registry.host])
          assert.strictEqual(added.code, 0, added.stderr)
          const pushed = yield* push()
          assert.strictEqual(pushed.code, 0, pushed.stderr)
          const inspected = yield* skopeo("inspect", "--tls-verify=false", `docker://${registry.host}/demo:1`)
          assert.strictEqual(inspected.code, 0, inspected.stderr)

          const log = (user: string, password: string) =>
            skopeo("login", "--tls-verify=false", "-u", user, "-p", password, registry.host)
          const stored = yield* log("oauth2", token)
          assert.strictEqual(stored.code, 0, stored.stderr)
          assert.notInclude(fs.readFileSync(path.join(home.directory, ".docker/config.json"), "utf8"), token)
          // another's password is good at the registry, and is not taken
          const other = yield* log("bob", "bobs-password")
          assert.notStrictEqual(other.code, 0)
          assert.include(other.stderr, "authn keeps no passwords")
        })
      ),
    120_000
  )

  it.live(
    "npm and pnpm send the token to the registry that wants it, and keep none",
    () =>
      simulated({}, (simulator, home) =>
        Effect.gen(function*() {
          yield* login(home, simulator.issuer, "datalayer")
          const token = (yield* home.run(["token"])).stdout.trim()
          const seen: Array<string | undefined> = []
          const server = createServer((request, response) => {
            seen.push(request.headers.authorization)
            response.writeHead(404, { "content-type": "application/json" }).end("{}")
          })
          yield* Effect.acquireRelease(
            Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
            () => Effect.sync(() => server.close())
          )
          const address = server.address()
          const host = `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
          const npmrc = path.join(home.directory, ".npmrc")
          const env = { npm_config_registry: `http://${host}/`, npm_config_fetch_retries: "0" }

          // as docs/cli.md has it
          const helper = path.join(home.directory, "npm-token")
          fs.writeFileSync(helper, `#!/bin/sh\nexec "${process.execPath}" "${main}" token\n`, { mode: 0o700 })
          fs.writeFileSync(npmrc, `//${host}/:tokenHelper=${helper}\n`)
          const ask = ["--yes", "--offline", "pnpm@12.21.0", "view", "nothing", "--registry", `http://${host}/`]
          const pnpm = yield* home.spawn(ask, { instead: "npx", env: npx })
          assert.include(pnpm.stdout + pnpm.stderr, "404")
          assert.deepStrictEqual(seen.splice(0), [`Bearer ${token}`])

          const line = `//${host}/:_authToken=\${NPM_TOKEN}\n`
          fs.writeFileSync(npmrc, line)
          yield* home.spawn(["exec", "--env", "NPM_TOKEN", "--", "npm", "view", "nothing"], { env })
          assert.isAbove(seen.length, 0)
          assert.deepStrictEqual([...new Set(seen)], [`Bearer ${token}`])
          assert.strictEqual(fs.readFileSync(npmrc, "utf8"), line)
        })),
    120_000
  )
})
