import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as Http from "node:http"
import * as path from "node:path"
import { home } from "./authn.ts"

const good = "[one]\ndialect = \"oidc\"\nissuer = \"https://id.example.com\"\nclient = \"svc\"\n"

describe("what authn vault refuses before it serves", () => {
  it.live("tables of IAMs that are none, and every secret inside", () =>
    Effect.gen(function*() {
      const there = yield* home
      const file = path.join(there.directory, "providers.toml")
      const vault = (text: string, name = file) => {
        fs.writeFileSync(name, text)
        return there.run(["vault", "--port", "0", "--providers", name])
      }
      const refused: ReadonlyArray<readonly [text: string, says: string]> = [
        ["", "names no IAM"],
        ["= =", "no TOML"],
        ["one = 1", "a table of its own"],
        ["[one]\nissuer = \"https://id.example.com\"\n", "dialect"],
        ["[one]\ndialect = \"saml\"\nissuer = \"https://id.example.com\"\n", "dialect"],
        [`${good}client_secret = "canary-9f"\n`, "a secret never stands in this table"],
        [`${good}password = "canary-9f"\n`, "a secret never stands in this table"],
        [`${good}realm = "x"\n`, "there is no \"realm\""],
        [`${good}token_endpoint = "x"\n`, "there is no \"token_endpoint\""],
        [`${good}refresh_token = "canary-9f"\n`, "a secret never stands in this table"],
        [good.replace("example.com", "example.com "), "[\"issuer\"]"],
        [good.replace("svc", "\\tsvc"), "[\"client\"]"],
        [`${good}client_secret_file = "nowhere"\n`, "cannot be read"],
        [`${good}reuse_grace = "soon"\n`, "reuse_grace"],
        [good + good.replace("[one]", "[two]"), "already"],
        [good + good, "'one'"],
        [`${good}client = "b"\n`, "'client'"],
        [`${good}constructor = "x"\n`, "there is no \"constructor\""],
        [
          ["", "/"].map((end, index) => `[n${index}]\ndialect = "datalayer"\nissuer = "https://i.example.com${end}"\n`)
            .join(""),
          "already"
        ],
        [
          `${good}per_second = 3\n${good.replace("[one]", "[two]").replace("svc", "b")}per_second = 5\n`,
          "[two]: per_second of https://id.example.com"
        ],
        [
          `${good}reuse_grace = "30s"\n${good.replace("[one]", "[two]").replace("svc", "b")}reuse_grace = "1m"\n`,
          "[two]: reuse_grace of https://id.example.com"
        ],
        ["[one]\ndialect = \"oidc\"\nissuer = \"https://id.example.com\"\n", "needs a client"],
        ["[one]\ndialect = \"datalayer\"\nissuer = \"https://i.example.com\"\nclient = \"x\"\n", "dialect oidc"],
        ["[one]\ndialect = \"oidc\"\nissuer = \"http://id.example.com\"\nclient = \"x\"\n", "[one]: plain http"],
        [
          "[one]\ndialect = \"oidc\"\nissuer = \"no address\"\nclient = \"x\"\n",
          "[one]: \"no address\" is not the address"
        ]
      ]
      for (const [text, says] of refused) {
        const { code, stderr, stdout } = yield* vault(text)
        assert.deepStrictEqual([code, stdout], [2, ""], `${text} ${stderr}`)
        assert.include(stderr, says)
        assert.notInclude(stderr, "canary-9f")
        assert.notInclude(stderr, "    at ")
      }
      const secret = path.join(there.directory, "secret")
      fs.writeFileSync(secret, "canary-9f", { mode: 0o644 })
      const known = yield* vault(`${good}client_secret_file = "secret"\n[two]\ndialect = "saml"\nissuer = "x"\n`)
      assert.include(known.stderr, `every user of this machine can read ${secret}`)
      assert.notInclude(known.stderr, "canary-9f")
      const json = path.join(there.directory, "providers.json")
      assert.include((yield* vault("{", json)).stderr, "no JSON")
      const entry = `{"dialect":"oidc","issuer":"https://id.example.com","client":"b"}`
      for (
        const [text, name] of [
          [`{"one":${entry},"two":{},"\\u006fne":${entry}}`, "\"one\" stands there twice"],
          [`{"one":${entry.replace("}", ",\"client\":\"c\"}")}}`, "\"client\" stands there twice"],
          [`{"one":{"issuer":"a \\" { \\"one\\": ","dialect":"x"}}`, ", [one]: Expected"]
        ] as const
      ) {
        const twice = yield* vault(text, json.replace("json", "JSON"))
        assert.deepStrictEqual([twice.code, twice.stdout], [2, ""])
        assert.include(twice.stderr, name)
      }
      assert.strictEqual((yield* there.run(["vault", "--providers", path.join(there.directory, "no")])).code, 2)
    }).pipe(Effect.scoped))

  it.live("to listen where others could hear a token, stores that it does not know, keys that are not there", () =>
    Effect.gen(function*() {
      const there = yield* home
      const file = path.join(there.directory, "providers.toml")
      fs.writeFileSync(file, good)
      const bad = path.join(there.directory, "bad.key")
      fs.writeFileSync(bad, "canary-9f\n", { mode: 0o644 })
      const mine: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: string]> = [
        [["--host", "0.0.0.0"], "--behind-tls-proxy"],
        [["--host", "vault.example.com"], "--behind-tls-proxy"],
        [["--host", "::"], "--behind-tls-proxy"],
        [["--certificate", file], "go together"],
        [["--certificate", file, "--private-key", file], "as PEM"],
        [["--port", "70000"], "65535"],
        [["--store", "mysql://db"], "postgres://"],
        [["--store", "postgres://u@127.0.0.1:1/db"], "share its key"],
        [["--store", "postgres://u@127.0.0.1:1/db", "--key-file", path.join(there.directory, "no.key")], "no key in"],
        [["--key-file", bad], "32 bytes"],
        [["--key-file", bad], `every user of this machine can read ${bad}`],
        [["--key-file", there.directory], `${there.directory} is not a file`],
        [["--key-file", "/dev/zero"], "/dev/zero is not a file"]
      ]
      for (const [args, says] of mine) {
        const { code, stderr } = yield* there.run(["vault", "--providers", file, ...args])
        assert.strictEqual(code, 2, `${args.join(" ")} ${stderr}`)
        assert.include(stderr, says)
        assert.notInclude(stderr, "canary-9f")
      }
    }).pipe(Effect.scoped))

  it.live("service tokens with names, rights or lives that are none", () =>
    Effect.gen(function*() {
      const there = yield* home
      const store = `--store=${path.join(there.directory, "s.sqlite")}`
      const create = (...args: ReadonlyArray<string>) => there.run(["vault", "token", "create", ...args, store])
      for (
        const args of [["two words"], ["a/b"], ["x", "--right", "everything"], ["x", "--lifetime", "soon"], [
          "x",
          "--lifetime",
          "0"
        ]]
      ) assert.strictEqual((yield* create(...args)).code, 2, args.join(" "))
      const made = yield* create("one", "--lifetime", "1d")
      assert.match(made.stdout, /^authn_[\w-]{43}\n$/)
      const twice = yield* create("one")
      assert.strictEqual(twice.code, 2)
      assert.include(twice.stderr, "revoke that one first")
      const out = path.join(there.directory, "out")
      const written = yield* create("two", "--right", "token", "--right", "sessions:read", "--out", out)
      assert.strictEqual(written.stdout, "")
      assert.strictEqual(fs.statSync(out).mode & 0o777, 0o600)
      const nowhere = yield* create("three", "--out", path.join(out, "token"))
      assert.strictEqual(nowhere.code, 1)
      assert.include(nowhere.stderr, "ENOTDIR")
      const listed = yield* there.run(["vault", "token", "list", "--json", store])
      assert.deepStrictEqual(
        JSON.parse(listed.stdout).map(({ name, rights }: { name: string; rights: unknown }) => [name, rights]),
        [["one", ["token"]], ["two", ["token", "sessions:read"]]]
      )
      assert.notMatch(listed.stdout, /authn_/)
      assert.strictEqual((yield* there.run(["vault", "token", "revoke", "nobody", store])).code, 1)
      const other = path.join(there.directory, "other")
      fs.writeFileSync(other, "canary-9f\n".repeat(100), { mode: 0o600 })
      const foreign = yield* there.run(["vault", "token", "list", `--store=${other}`])
      assert.strictEqual(foreign.code, 1)
      assert.include(foreign.stderr, `the store ${other} cannot be used`)
    }).pipe(Effect.scoped))

  it.live("vaults elsewhere that may see no token", () =>
    Effect.gen(function*() {
      const there = yield* home
      const env = { AUTHN_VAULT_TOKEN: "authn_x" }
      for (
        const url of ["http://vault.example.com", "vault", "", "ftp://127.0.0.1", "https://u:canary-9f@v.example.com"]
      ) {
        for (
          const command of [["token"], [
            "login",
            "--dialect",
            "datalayer",
            "--issuer",
            "https://i.example.com",
            "--token-stdin"
          ]]
        ) {
          const ended = yield* there.run([...command, "--vault", url], { env, input: "at\n" })
          assert.strictEqual(ended.code, 2, `${url} ${ended.stderr}`)
          assert.notInclude(ended.stderr, "canary-9f")
        }
      }
      for (const token of ["two words", "a\nb", "tökén", " "]) {
        const ended = yield* there.run(["token", "--vault", "http://127.0.0.1:9"], {
          env: { AUTHN_VAULT_TOKEN: token }
        })
        assert.strictEqual(ended.code, 2, ended.stderr)
        assert.include(ended.stderr, "authn vault token create")
      }
      const unknown = yield* there.run(["token", "--vault", "http://127.0.0.1:9"], { env })
      assert.strictEqual(unknown.code, 2)
      assert.include(unknown.stderr, "authn login --vault")
    }).pipe(Effect.scoped))

  it.live("what answers in the place of a vault: whether to try again, and what to put right", () =>
    Effect.gen(function*() {
      const there = yield* home
      const json = { "content-type": "application/json" }
      const answers: ReadonlyArray<
        readonly [status: number, headers: Record<string, string>, body: string, code: number, says: string]
      > = [
        [502, { "content-type": "text/html" }, "<html>", 5, "status 502"],
        [503, { "retry-after": "7" }, "", 5, "try again"],
        [429, {}, "", 5, "try again"],
        [307, { location: "http://127.0.0.1:9/" }, "", 1, "the address of the vault itself"],
        [200, { "content-type": "text/html" }, "<html>", 1, "check its address"],
        [404, { "content-type": "text/html" }, "<html>", 1, "check its address"],
        [200, json, "{\"access_token\":\"two words\",\"token_type\":\"Bearer\"}", 1, "no vault of this version"],
        [200, json, "{\"access_token\":\"at\",\"token_type\":\"Bearer\\r\\nx: y\"}", 1, "no vault of this version"],
        [404, json, "{\"error\":\"no_session\",\"error_description\":\"\\u001b[31mred\"}", 3, ": [31mred"]
      ]
      for (const [status, headers, body, code, says] of answers) {
        const server = yield* Effect.acquireRelease(
          Effect.promise(() =>
            new Promise<Http.Server>((resolve) => {
              const server = Http.createServer((request, response) => {
                request.resume()
                response.writeHead(status, headers)
                response.end(body)
              }).listen(0, "127.0.0.1", () => resolve(server))
            })
          ),
          (server) => Effect.sync(() => server.close())
        )
        const address = server.address()
        const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/`
        const ended = yield* there.run(["token", "--vault", url], {
          env: { AUTHN_VAULT_TOKEN: "authn_x", AUTHN_DIALECT: "datalayer", AUTHN_ISSUER: "https://iam.example.com" }
        })
        assert.deepStrictEqual([ended.code, ended.stdout], [code, ""], `${status} ${ended.stderr}`)
        assert.include(ended.stderr, says)
      }
    }).pipe(Effect.scoped))
})
