import { PostgresServer } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { execFile } from "node:child_process"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { isThere, startSecretService } from "../../storage/keyring/test/secretService.ts"
import { atTerminal, data, type Home, home, installedMain, login, provided, simulated, stored } from "./authn.ts"
import { send, start, table } from "./vault.ts"

const exec = (program: string, args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.callback<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resume) => {
    execFile(
      program,
      args,
      { env: { PATH: process.env["PATH"], ...env } },
      (error, stdout, stderr) =>
        resume(Effect.succeed({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }))
    )
  })

const sha256 = (text: string) => crypto.createHash("sha256").update(text).digest("base64url")

/** What the IAM answered to a login, with the key of its session, as a body of PUT /sessions. */
const signedIn = Effect.fnUntraced(function*(issuer: string, account = "ada") {
  const elsewhere = yield* home
  yield* login(elsewhere, issuer, "genomcore")
  const { session } = stored(elsewhere).document
  const [tokens] = Object.values<{ accessToken: string }>(session.tokens)
  return {
    key: { issuer: session.key.issuer, client: session.key.client, account },
    answer: {
      access_token: String(tokens?.accessToken),
      refresh_token: String(session.grant.refreshToken),
      expires_in: 3600,
      selection: session.current
    }
  }
})

const python = `
import base64, hashlib, json, os, urllib.request
def token(**more):
    body = json.dumps(dict(issuer=os.environ["ISSUER"], client=os.environ["CLIENT"], account="ada", **more)).encode()
    request = urllib.request.Request(os.environ["VAULT"] + "/token", body, {
        "Authorization": "Bearer " + os.environ["TOKEN"], "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["access_token"]
first = token()
digest = base64.urlsafe_b64encode(hashlib.sha256(first.encode()).digest()).rstrip(b"=").decode()
print(json.dumps([first, token(refused=digest)]))
`

const node = `
const { createHash } = await import("node:crypto")
const { CLIENT, ISSUER, TOKEN, VAULT } = process.env
const token = async (more) => {
  const answer = await fetch(VAULT + "/token", {
    method: "POST",
    headers: { authorization: "Bearer " + TOKEN, "content-type": "application/json" },
    body: JSON.stringify({ issuer: ISSUER, client: CLIENT, account: "ada", ...more })
  })
  if (!answer.ok) throw new Error((await answer.json()).error_description)
  return (await answer.json()).access_token
}
const first = await token()
console.log(JSON.stringify([first, await token({ refused: createHash("sha256").update(first).digest("base64url") })]))
`

const shell = `
ask() {
  curl -sf --json "{\\"issuer\\":\\"$ISSUER\\",\\"client\\":\\"$CLIENT\\",\\"account\\":\\"ada\\"$1}" \\
    -H "Authorization: Bearer $TOKEN" "$VAULT/token" | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'
}
first=$(ask "") || exit 1
digest=$(printf %s "$first" | openssl dgst -sha256 -binary | openssl base64 -A | tr '+/' '-_' | tr -d =)
printf '["%s","%s"]' "$first" "$(ask ",\\"refused\\":\\"$digest\\"")"
`

describe("authn vault", () => {
  it.live("serves curl, Python's standard library and a program without Effect, also after a 401 of theirs", () =>
    simulated({ rotation: "strict" }, (simulator, home) =>
      Effect.gen(function*() {
        const { answer, key } = yield* signedIn(simulator.issuer)
        const vault = yield* start(home, ["--providers", table(home, simulator.issuer)])
        assert.strictEqual((yield* send(vault.url, "PUT", "/sessions", vault.token, { ...key, ...answer })).status, 200)
        const env = { VAULT: vault.url, TOKEN: vault.token, ISSUER: key.issuer, CLIENT: key.client }
        let last = answer.access_token
        for (
          const [program, args] of [
            ["bash", ["-c", shell]],
            ["python3", ["-c", python]],
            [process.execPath, ["--input-type=module", "-e", node]]
          ] as const
        ) {
          const { code, stderr, stdout } = yield* exec(program, args, env)
          assert.strictEqual(code, 0, stderr)
          const [first, second] = JSON.parse(stdout)
          assert.strictEqual(first, last, program)
          assert.notStrictEqual(second, first, program)
          last = second
        }
        const renewals = (yield* simulator.ledger).filter(({ route }) => route === "refresh")
        assert.strictEqual(renewals.length, 3)
        for (
          const [method, route] of [["GET", "/"], ["GET", "/token"], ["OPTIONS", "/token"], [
            "POST",
            "/health"
          ]] as const
        ) {
          const { json, status } = yield* send(vault.url, method, route, vault.token)
          assert.deepStrictEqual([status, json.error], [404, "not_found"], `${method} ${route}`)
        }
        // proxies look whether a server is well by HEAD
        for (
          const [method, route, status] of [
            ["HEAD", "/health", 200],
            ["HEAD", "/nowhere", 404],
            ["PROPFIND", "/health", 404],
            ["GET", "/%zz", 404]
          ] as const
        ) {
          const answer = yield* Effect.promise(() => fetch(`${vault.url}${route}`, { method }))
          assert.deepStrictEqual([answer.status, answer.headers.get("cache-control")], [status, "no-store"], route)
        }
        const notes = vault.said().split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
        assert.strictEqual(notes.length, 6)
        assert.deepInclude(notes[1], { event: "token", caller: "service first", account: "ada", replacement: true })
        for (const secret of [vault.token, last, answer.refresh_token]) assert.notInclude(vault.said(), secret)
      })))

  it.live.runIf(isThere)(
    "makes its key in the keychain, and serves nothing without it",
    () =>
      simulated({ rotation: "strict" }, (simulator, home) =>
        Effect.gen(function*() {
          const service = yield* Effect.acquireRelease(
            Effect.promise(startSecretService),
            ({ stop }) => Effect.promise(stop)
          )
          const { answer, key } = yield* signedIn(simulator.issuer)
          const args = ["--providers", table(home, simulator.issuer)]
          const env = { DBUS_SESSION_BUS_ADDRESS: service.address }
          const bundle = installedMain(home)
          const vault = yield* start(home, args, env, bundle)
          assert.strictEqual(
            (yield* send(vault.url, "PUT", "/sessions", vault.token, { ...key, ...answer })).status,
            200
          )
          yield* vault.stop("SIGTERM")
          assert.isTrue((yield* Effect.promise(service.labels)).some((label) => label.includes("vault in")))
          assert.isFalse(fs.existsSync(data(home, "vault", "vault.key")))
          for (const file of fs.readdirSync(data(home, "vault")).filter((name) => name.startsWith("sessions."))) {
            assert.notInclude(fs.readFileSync(data(home, "vault", file), "latin1"), answer.refresh_token, file)
          }
          // the same key after a restart
          const again = yield* start(home, args, env, bundle)
          assert.strictEqual(
            (yield* send(again.url, "POST", "/token", vault.token, key)).json.access_token,
            answer.access_token
          )
          yield* again.stop("SIGTERM")
          // a key that cannot be had is not made anew
          yield* Effect.promise(service.lock)
          const locked = yield* Effect.flip(start(home, args, env, bundle))
          assert.include(locked.message, "ended with 2")
          assert.match(locked.message, /keychain/)
          assert.isFalse(fs.existsSync(data(home, "vault", "vault.key")))
        }))
  )

  it.live("what is under way when it is stopped becomes durable, and the next one goes on with it", () =>
    simulated({ rotation: "strict" }, (simulator, home) =>
      Effect.gen(function*() {
        const { answer, key } = yield* signedIn(simulator.issuer)
        const args = ["--providers", table(home, simulator.issuer)]
        const vault = yield* start(home, args)
        yield* send(vault.url, "PUT", "/sessions", vault.token, { ...key, ...answer })
        yield* simulator.setKnobs({ latency: "1500 millis" })
        const asking = send(vault.url, "POST", "/token", vault.token, { ...key, refused: sha256(answer.access_token) })
        const stopping = Effect.flatMap(simulator.ledger, (entries) =>
          entries.some(({ route }) => route === "refresh")
            ? vault.stop("SIGTERM")
            : Effect.fail("not yet" as const)).pipe(
            Effect.retry(Schedule.spaced("20 millis"))
          )
        const [asked] = yield* Effect.all([asking, stopping], { concurrency: 2 })
        assert.strictEqual(asked.status, 200)
        yield* simulator.setKnobs({ latency: 0 })
        const next = yield* start(home, args)
        const again = yield* send(next.url, "POST", "/token", vault.token, key)
        assert.strictEqual(again.json.access_token, asked.json.access_token)
        const after = yield* send(next.url, "POST", "/token", vault.token, {
          ...key,
          refused: sha256(asked.json.access_token)
        })
        assert.strictEqual(after.status, 200)
        assert.strictEqual((yield* simulator.ledger).filter(({ route }) => route === "refresh").length, 2)
        assert.strictEqual(next.token, vault.token)
      })))

  it.live("keeps sessions encrypted with a key that is made once, and refuses to make another beside them", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const { answer, key } = yield* signedIn(simulator.issuer)
        const args = ["--providers", table(home, simulator.issuer)]
        // a service token may come before the first start, and with it the file
        const early = (yield* home.run(["vault", "token", "create", "early", "--right", "sessions:write"])).stdout
          .trim()
        const vault = yield* start(home, args)
        assert.strictEqual(vault.token, "")
        assert.strictEqual((yield* send(vault.url, "PUT", "/sessions", early, { ...key, ...answer })).status, 200)
        yield* vault.stop("SIGTERM")
        const directory = data(home, "vault")
        for (const name of fs.readdirSync(directory)) {
          const file = path.join(directory, name)
          if (!fs.statSync(file).isFile()) continue
          assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600, name)
          assert.notInclude(fs.readFileSync(file, "latin1"), answer.refresh_token)
        }
        const other = path.join(home.directory, "other.key")
        fs.writeFileSync(other, Buffer.alloc(32, 9).toString("base64"))
        const wrong = yield* Effect.flip(start(home, [...args, "--key-file", other]))
        assert.include(wrong.message, "with another key")
        fs.appendFileSync(other, `\n${fs.readFileSync(path.join(directory, "vault.key"), "utf8")}`)
        yield* (yield* start(home, [...args, "--key-file", other])).stop("SIGTERM")
        fs.rmSync(path.join(directory, "vault.key"))
        const error = yield* Effect.flip(start(home, args))
        assert.include(error.message, "put the key back")
      })))

  it.live("makes no first service token that it cannot write down", () =>
    Effect.gen(function*() {
      const there = yield* home
      const args = ["--providers", table(there, "http://127.0.0.1:9")]
      const inTheWay = path.join(there.directory, "providers.toml", "token")
      assert.include((yield* Effect.flip(start(there, [...args, "--token-file", inTheWay]))).message, "ENOTDIR")
      const told = path.join(there.directory, "told")
      const vault = yield* start(there, [...args, "--token-file", told])
      assert.strictEqual((yield* send(vault.url, "GET", "/sessions", fs.readFileSync(told, "utf8").trim())).status, 200)
    }).pipe(Effect.scoped))

  it.live("shows the first service token to a terminal, and writes it nowhere", () =>
    Effect.gen(function*() {
      const there = yield* home
      const file = table(there, "http://127.0.0.1:9")
      const { shown } = yield* atTerminal(there, ["vault", "--port", "0", "--providers", file], [[
        "http://127",
        "\u0003"
      ]])
      assert.match(shown, /authn_[\w-]{43}/)
      assert.isFalse(fs.existsSync(data(there, "vault", "service-token")))
    }).pipe(Effect.scoped))

  it.live("has a page for who can read a file of its owner, opened once", () =>
    Effect.gen(function*() {
      const there = yield* home
      const vault = yield* start(there, ["--providers", table(there, "http://127.0.0.1:9"), "--status"])
      const file = data(there, "vault", "status-link")
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
      const link = fs.readFileSync(file, "utf8").trim()
      assert.match(link, /^http:\/\/127\.0\.0\.1:\d+\/open\//)
      assert.notInclude(vault.said(), link)
      const jar = path.join(there.directory, "jar")
      const opened = yield* exec("curl", ["-sL", "-c", jar, "-b", jar, link])
      assert.include(opened.stdout, "127.0.0.1:9")
      const again = yield* exec("curl", ["-s", "-o", path.join(there.directory, "page"), "-w", "%{http_code}", link])
      assert.strictEqual(again.stdout, "403")
    }).pipe(Effect.scoped))

  it.live("serves https with a certificate", () =>
    Effect.gen(function*() {
      const there = yield* home
      const at = (name: string) => path.join(there.directory, name)
      const made = yield* exec("openssl", [
        ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost".split(" "),
        ...`-addext subjectAltName=DNS:localhost -keyout ${at("key.pem")} -out ${at("cert.pem")}`.split(" ")
      ])
      assert.strictEqual(made.code, 0, made.stderr)
      const vault = yield* start(there, [
        `--providers=${table(there, "http://127.0.0.1:9")}`,
        "--host=localhost",
        `--certificate=${at("cert.pem")}`,
        `--private-key=${at("key.pem")}`
      ])
      assert.match(vault.url, /^https:\/\/localhost:\d+$/)
      const health = yield* exec("curl", ["-s", "--cacert", at("cert.pem"), `${vault.url}/health`])
      assert.strictEqual(health.stdout, "ok")
    }).pipe(Effect.scoped))
})

describe.runIf(PostgresServer.isThere)("machines that share a store", () => {
  const fleet = Effect.fnUntraced(function*(there: Home, issuer: string, count: number) {
    const postgres = yield* PostgresServer.PostgresServer
    const keyFile = path.join(there.directory, "fleet.key")
    fs.writeFileSync(keyFile, `${Buffer.alloc(32, 7).toString("base64")}\n`, { mode: 0o600 })
    const env = { AUTHN_VAULT_STORE: postgres.url() }
    const machines = yield* Effect.forEach(
      Array.from({ length: count }),
      () => start(there, ["--providers", table(there, issuer), "--key-file", keyFile], env),
      { concurrency: "unbounded" }
    )
    return { machines, env, token: machines.find(({ token }) => token !== "")!.token }
  })

  it.live("each serves what was put in at another, renews it once, and knows the same service tokens", () =>
    simulated({ rotation: "strict" }, (simulator, there) =>
      Effect.gen(function*() {
        const { answer, key } = yield* signedIn(simulator.issuer)
        const { env, machines, token } = yield* fleet(there, simulator.issuer, 3)
        const [one, two] = machines
        assert.strictEqual((yield* send(one!.url, "PUT", "/sessions", token, { ...key, ...answer })).status, 200)
        // all tables are there, for a user who may make none
        const postgres = yield* PostgresServer.PostgresServer
        assert.strictEqual(yield* postgres.psql("SELECT count(*) FROM effect_authn_rates"), "0")
        const answers = yield* Effect.forEach(
          [...machines, ...machines],
          ({ url }) => send(url, "POST", "/token", token, { ...key, refused: sha256(answer.access_token) }),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual([...new Set(answers.map(({ status }) => status))], [200])
        assert.strictEqual(new Set(answers.map(({ json }) => json.access_token)).size, 1)
        assert.strictEqual((yield* simulator.ledger).filter(({ route }) => route === "refresh").length, 1)

        const made = yield* there.run(["vault", "token", "create", "reader", "--right", "sessions:read"], { env })
        assert.strictEqual(made.code, 0, made.stderr)
        const reader = made.stdout.trim()
        assert.strictEqual((yield* send(two!.url, "GET", "/sessions", reader)).json.sessions.length, 1)
        assert.strictEqual((yield* send(two!.url, "POST", "/token", reader, key)).status, 403)
        assert.include((yield* there.run(["vault", "token", "list"], { env })).stdout, "reader")
        assert.strictEqual((yield* there.run(["vault", "token", "revoke", "reader"], { env })).code, 0)
        yield* send(two!.url, "GET", "/sessions", reader).pipe(
          Effect.filterOrFail(({ status }) => status === 401, () => "not yet"),
          Effect.retry(Schedule.spaced("200 millis"))
        )
        // The database is gone: who is known and whose token is in memory is served, and all are as it is back.
        yield* postgres.crash
        yield* Effect.sleep("6 seconds")
        const held = yield* send(two!.url, "POST", "/token", token, key)
        assert.strictEqual(held.status, 200)
        const cold = yield* send(two!.url, "POST", "/token", token, { ...key, account: "somebody else" })
        assert.deepStrictEqual([cold.status, cold.json.error], [503, "unavailable"])
        assert.strictEqual((yield* send(two!.url, "GET", "/health", "")).status, 503)
        yield* postgres.start
        yield* send(two!.url, "GET", "/health", "").pipe(
          Effect.filterOrFail(({ status }) => status === 200, () => "not yet"),
          Effect.retry(Schedule.spaced("200 millis"))
        )
        yield* send(two!.url, "POST", "/token", token, { ...key, account: "somebody else" }).pipe(
          Effect.filterOrFail(({ status }) => status === 404, () => "not yet"),
          Effect.retry(Schedule.spaced("200 millis"))
        )

        yield* one!.stop("SIGKILL")
        assert.strictEqual((yield* send(two!.url, "POST", "/token", token, key)).status, 200)
      })).pipe(Effect.provide(Layer.fresh(PostgresServer.layer()))))
})

describe("a machine that keeps nothing", () => {
  it.live("puts a session in by a login, and takes tokens out", () =>
    simulated({ rotation: "strict" }, (simulator, there) =>
      Effect.gen(function*() {
        const vault = yield* start(there, ["--providers", table(there, simulator.issuer)])
        const laptop = yield* home
        const env = { AUTHN_VAULT_TOKEN: vault.token }
        const file = path.join(laptop.directory, "token")
        fs.writeFileSync(file, `${vault.token}\n`)
        const signedIn = yield* login(laptop, simulator.issuer, "genomcore", [
          "--vault",
          vault.url,
          "--vault-token-file",
          file
        ])
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        assert.include(signedIn.stderr, `kept in the vault at ${vault.url}`)
        assert.isFalse(fs.existsSync(data(laptop, "sessions")))
        assert.isFalse(fs.existsSync(data(laptop, "accounts", "default.json")))

        const token = (args: ReadonlyArray<string> = [], options: object = { env }) =>
          laptop.spawn(["token", "--vault", vault.url, ...args], options)
        const first = yield* token()
        assert.strictEqual(first.code, 0, first.stderr)
        const piped = yield* token(["--vault-token-stdin", "--header"], { input: `${vault.token}\n` })
        assert.strictEqual(piped.stdout, `Authorization: Bearer ${first.stdout}`)
        assert.deepInclude(JSON.parse((yield* token(["--json"])).stdout), {
          token: first.stdout.trim(),
          tokenType: "Bearer"
        })
        // too short for what it is wanted for: another one is no longer, which is said
        const short = yield* token(["--min-ttl", "2h"])
        assert.strictEqual(short.code, 1)
        assert.include(short.stderr, "--min-ttl")
        assert.notStrictEqual((yield* token()).stdout, first.stdout)

        // what a login put in under another name is known by the name here, however the address is written
        const named = yield* login(laptop, simulator.issuer, "genomcore", [
          "--account=work",
          "--vault-account=ada@example.com",
          "--vault",
          `${vault.url}/`,
          "--vault-token-file",
          file
        ])
        assert.strictEqual(named.code, 0, named.stderr)
        assert.match(named.stderr, /Next: authn token --vault \S+ --account work/)
        assert.strictEqual((yield* token(["--account=work"])).code, 0)

        const nobody = yield* token(["--vault-account", "nobody"])
        assert.strictEqual(nobody.code, 3)
        assert.include(nobody.stderr, `authn login --vault ${vault.url}`)
        yield* simulator.revokeAll
        const ended = yield* token(["--min-ttl", "2h"])
        assert.strictEqual(ended.code, 4, ended.stderr)

        const none = yield* token([], { env: {} })
        assert.strictEqual(none.code, 2)
        assert.include(none.stderr, "AUTHN_VAULT_TOKEN")
        const wrong = yield* token([], { env: { AUTHN_VAULT_TOKEN: `authn_${"A".repeat(43)}` } })
        assert.strictEqual(wrong.code, 1)
        assert.include(wrong.stderr, "refuses the service token")
        for (const { stderr } of [signedIn, first, nobody, ended, wrong]) assert.notInclude(stderr, vault.token)
        yield* vault.stop("SIGTERM")
        const away = yield* token()
        assert.strictEqual(away.code, 5)
        assert.include(away.stderr, "cannot be reached")
      })))

  it.live("asks no platform for a vault, and says of a client's own session that nothing renews it there", () =>
    provided((provider, there) =>
      Effect.gen(function*() {
        const { id, secret } = provider.secretClient
        const providers = path.join(there.directory, "providers.toml")
        fs.writeFileSync(providers, `[idp]\ndialect = "oidc"\nissuer = "${provider.issuer}"\nclient = "${id}"\n`)
        const vault = yield* start(there, ["--providers", providers])
        const job = yield* home
        const file = path.join(job.directory, "identity")
        fs.writeFileSync(file, Redacted.value(yield* provider.platform.sign({ sub: "canary" })))
        const env = { AUTHN_VAULT_TOKEN: vault.token, AWS_WEB_IDENTITY_TOKEN_FILE: file }
        const args = [
          "login",
          "--dialect",
          "oidc",
          "--issuer",
          provider.issuer,
          "--client-id",
          id,
          "--vault",
          vault.url
        ]

        const machine = yield* job.run([...args, "--workload-audience", provider.issuer], { env })
        assert.strictEqual(machine.code, 2)
        assert.include(machine.stderr, "the platform that runs this is not asked")
        assert.include(machine.stderr, "--client-secret-stdin")
        assert.deepStrictEqual(yield* provider.proxy.ledger, [])

        const resource = ["--resource", provider.resource, "--scope", "api:read"]
        const client = yield* job.run([...args, ...resource, "--client-secret-stdin", "--json"], {
          env: { ...env, AUTHN_WORKLOAD_AUDIENCE: provider.issuer },
          input: `${Redacted.value(secret)}\n`
        })
        assert.strictEqual(client.code, 0, client.stderr)
        assert.isUndefined(JSON.parse(client.stdout).tried)
        // What the login was for is what the vault hands out.
        const token = yield* job.run(["token", "--vault", vault.url], { env })
        assert.strictEqual(token.code, 0, token.stderr)
        const { aud } = JSON.parse(Buffer.from(token.stdout.split(".")[1] ?? "", "base64url").toString())
        assert.strictEqual(aud, provider.resource)

        const told = yield* job.run([...args, "--client-secret-stdin"], { env, input: `${Redacted.value(secret)}\n` })
        assert.include(told.stderr, "The vault has nothing to renew it with.")
        assert.notInclude(told.stderr, "renewed when it is due")
        for (const { stderr } of [machine, client, told]) assert.notInclude(stderr, "canary")
      })
    ))

  it.live("ends a session at the IAM that the vault does not take", () =>
    simulated({}, (simulator, there) =>
      Effect.gen(function*() {
        const vault = yield* start(there, ["--providers", table(there, "http://127.0.0.1:9")])
        const laptop = yield* home
        const ended = yield* laptop.run([
          ...`login --dialect datalayer --issuer ${simulator.issuer} --handle ada --password-stdin`.split(" "),
          `--vault=${vault.url}`
        ], { input: "correct-horse-battery\n", env: { AUTHN_VAULT_TOKEN: vault.token } })
        assert.strictEqual(ended.code, 2, ended.stderr)
        assert.include(ended.stderr, "add it to its providers")
        assert.include((yield* simulator.ledger).map(({ route }) => route), "logout")
      })))
})
