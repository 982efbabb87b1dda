/** The lines of docs/providers.md and docs/workloads.md, typed as they stand there, at servers that have their addresses. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Semaphore } from "effect"
import * as fs from "node:fs"
import { createServer, type Server } from "node:http"
import * as path from "node:path"
import { type Asked, seconds, serve, sign } from "../../iam/oidc/test/rawProvider.ts"
import { browserOf, data, expire, home, main, provided } from "./authn.ts"
import { blocks, words } from "./documents.ts"

const secret = "s3cret of the client"

interface Recipe {
  readonly name: string
  readonly args: ReadonlyArray<string>
  readonly isPiped: boolean
  /** Files that the section has, by name. */
  readonly files: ReadonlyMap<string, string>
}

const recipes = blocks("providers.md").flatMap((block, at, all): ReadonlyArray<Recipe> => {
  if (block.language !== "sh") return []
  const [program, ...args] = words(block.text)
  assert.strictEqual(program, "authn")
  const end = args.indexOf("<")
  const name = args[args.indexOf("--metadata") + 1]
  const json = all.slice(0, at).findLast(({ language, section }) => language === "json" && section === block.section)
  return [{
    name: block.section,
    args: end === -1 ? args : args.slice(0, end),
    isPiped: end !== -1,
    files: new Map(json === undefined || name === undefined ? [] : [[name, json.text]])
  }]
})

/** What the flags say, by flag. */
const flagsOf = (args: ReadonlyArray<string>) => {
  const flags = new Map<string, ReadonlyArray<string>>()
  for (let at = 1; at < args.length; at++) {
    const name = args[at] ?? ""
    const value = args[at + 1]?.startsWith("--") === false ? args[++at] : undefined
    flags.set(name, [...flags.get(name) ?? [], ...(value === undefined ? [] : [value])])
  }
  return flags
}

// Recipes name ports, and there is one of each.
const turn = Semaphore.makeUnsafe(1)

describe("the lines for providers", () => {
  it("are those of twelve", () => {
    assert.deepStrictEqual(new Set(recipes.map(({ name }) => name)).size, 12)
  })

  for (const { args, files, isPiped, name } of recipes) {
    it.live(`${name}: the login, the way back, a token and its renewal are as the line says`, () =>
      turn.withPermit(Effect.scoped(Effect.gen(function*() {
        const own = yield* home
        const flags = flagsOf(args)
        const [given = ""] = flags.get("--issuer") ?? []
        const { origin } = new URL(given)
        let nonce = ""
        let count = 0
        const token = (_asked: Asked, base: string) => ({
          body: {
            access_token: `at-${++count}`,
            refresh_token: "rt",
            token_type: "Bearer",
            expires_in: 3600,
            ...(nonce === "" ? {} : {
              id_token: sign({
                iss: base,
                aud: flags.get("--client-id")?.[0],
                sub: "ada",
                nonce,
                iat: seconds(),
                exp: seconds() + 300
              })
            })
          }
        })
        const written = [...files].map(([file, text]) => ({ file, text, metadata: JSON.parse(text) }))
        const route = (address: string) => new URL(address).pathname
        const server = yield* serve({
          path: given.slice(origin.length),
          routes: Object.fromEntries([
            `${given.slice(origin.length).replace(/\/$/, "")}/token`,
            ...written.map(({ metadata }) => route(metadata.token_endpoint))
          ].map((path) => [path, token]))
        })
        const here = (text: string) => text.replaceAll(origin, server.origin)
        for (const { file, text } of written) fs.writeFileSync(path.join(own.directory, file), here(text))
        const typed = args.map((arg) => files.has(arg) ? path.join(own.directory, arg) : here(arg))

        const browser = browserOf(own)
        const [signedIn, page] = yield* Effect.all([
          own.spawn(typed, { env: browser.env, atOnce: true, input: isPiped ? `${secret}\n` : "" }),
          Effect.gen(function*() {
            // A page of this machine, which leads to the provider's.
            const opened = yield* browser.opened
            const began = yield* Effect.promise(() => fetch(opened, { redirect: "manual" }))
            const page = new URL(began.headers.get("location") ?? opened)
            nonce = page.searchParams.get("nonce") ?? ""
            const back = new URL(page.searchParams.get("redirect_uri") ?? "")
            back.searchParams.set("code", "c")
            back.searchParams.set("state", page.searchParams.get("state") ?? "")
            const cookie = began.headers.getSetCookie().map((given) => given.replace(/;.*/, "")).join("; ")
            yield* Effect.promise(() => fetch(back, { headers: { cookie } }))
            return page
          })
        ], { concurrency: 2 })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)

        const asked = Object.fromEntries(page.searchParams)
        const scope = flags.get("--scope")?.[0]
        assert.strictEqual(asked["scope"] ?? "", scope ?? "openid profile email offline_access")
        for (const flag of ["client-id", "audience", "resource", "prompt"]) {
          const [value] = flags.get(`--${flag}`) ?? []
          if (value !== undefined) assert.strictEqual(asked[flag.replace("-", "_")], here(value), flag)
        }
        for (const pair of flags.get("--parameter") ?? []) {
          const [parameter = "", value] = pair.split("=")
          assert.strictEqual(asked[parameter], value)
        }
        const [host = "127.0.0.1"] = flags.get("--callback-host") ?? []
        const [port = "\\d+"] = flags.get("--callback-port") ?? []
        const [way = "/callback"] = flags.get("--callback-path") ?? []
        assert.match(asked["redirect_uri"] ?? "", new RegExp(`^http://${host}:${port}${way}$`))

        // What the login was told is remembered, and the file is not needed any more.
        for (const { file } of written) fs.rmSync(path.join(own.directory, file))
        const first = yield* own.spawn(["token"])
        assert.deepStrictEqual([first.stdout, first.stderr], ["at-1\n", ""])
        const refused = yield* own.spawn(["token"], { env: { AUTHN_RESOURCE: "urn:x" } })
        assert.deepStrictEqual([refused.code, refused.stdout], [1, ""], refused.stderr)
        assert.include(refused.stderr, "the selection was refused")
        expire(own, Date.now() - 1000)
        const second = yield* own.spawn(["token"])
        assert.deepStrictEqual([second.stdout, second.stderr], ["at-2\n", ""])
        const requests = server.asked.filter(({ form }) => form.has("grant_type"))
        assert.deepStrictEqual(requests.map(({ form }) => form.get("grant_type")), [
          "authorization_code",
          "refresh_token"
        ])
        for (const { form, headers } of requests) {
          const shown = flags.get("--client-auth")?.[0] ?? "none"
          assert.strictEqual(form.get("client_secret"), shown === "client_secret_post" ? secret : null)
          const basic = Buffer.from(headers.authorization?.replace("Basic ", "") ?? "", "base64").toString()
          assert.strictEqual(basic, shown === "client_secret_basic" ? `KEY:${secret.replaceAll(" ", "+")}` : "")
        }
        assert.notInclude(fs.readFileSync(data(own, "accounts", "default.json"), "utf8"), secret)
        const again = yield* own.spawn(["config", "--json"])
        for (const [flag, [value]] of flags) {
          const known = JSON.parse(again.stdout).settings[flag.slice(2).replaceAll("-", "_")]
          if (known !== undefined && value !== undefined && flag !== "--callback-port") {
            assert.strictEqual(known.value, flag === "--metadata" ? "(read at the login)" : here(value), flag)
          }
        }
      }))))
  }
})

describe("the lines for workloads", () => {
  const { sh, ts } = Object.groupBy(blocks("workloads.md"), ({ language }) => language)

  /** GitHub, which signs what it is asked for, and the API of the lines. */
  const listening = (answer: (url: URL, authorization: string) => Promise<string>) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.promise(() =>
          new Promise<Server>((resolve) => {
            const server = createServer((request, response) => {
              const url = new URL(request.url ?? "/", "http://x")
              void answer(url, request.headers.authorization ?? "").then((text) => response.end(text))
            })
            server.listen(0, "127.0.0.1", () => resolve(server))
          })
        ),
        (server) => Effect.sync(() => server.close())
      ),
      (server) => {
        const address = server.address()
        return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
      }
    )

  /** Types a block of a job, at an IAM that trusts GitHub: what the API saw. */
  const typed = (text: string, how: (text: string, directory: string) => ReadonlyArray<string>) =>
    provided((provider, own) =>
      Effect.gen(function*() {
        const shown: Array<string> = []
        const context = yield* Effect.context()
        const github = yield* listening((url) =>
          Effect.runPromiseWith(context)(
            Effect.map(
              provider.platform.sign({ aud: url.searchParams.get("audience") }),
              (token) => JSON.stringify({ value: Redacted.value(token) })
            )
          )
        )
        const api = yield* listening(async (url, authorization) => {
          shown.push(authorization)
          return `the notes of ${url.pathname}`
        })
        const bin = path.join(own.directory, "bin")
        fs.mkdirSync(bin)
        fs.writeFileSync(path.join(bin, "authn"), `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`, { mode: 0o755 })
        const here = text.replaceAll("https://idp.example.com", provider.issuer)
          .replaceAll("https://api.example.com", api)
          .replaceAll(/(client-id |CLIENT_ID=|clientId: ")deploy/g, `$1${provider.publicClient.id}`)
        const [program = "", ...args] = how(here, own.directory)
        const ended = yield* own.spawn(args, {
          instead: program,
          env: {
            PATH: `${bin}:${own.env["PATH"]}`,
            // Nobody has chosen a place for sessions there.
            AUTHN_STORAGE: undefined,
            GITHUB_ACTIONS: "true",
            ACTIONS_ID_TOKEN_REQUEST_URL: `${github}/token?api-version=2.0`,
            ACTIONS_ID_TOKEN_REQUEST_TOKEN: "of the runner"
          }
        })
        assert.strictEqual(ended.code, 0, ended.stderr)
        assert.include(ended.stdout, "the notes of /notes", ended.stderr)
        assert.strictEqual(shown.length, 1)
        assert.match(shown[0] ?? "", /^Bearer \S+$/)
        return ended
      })
    )

  for (const [at, { text }] of (sh ?? []).entries()) {
    it.live(`of the shell do what they say in a job of GitHub Actions: ${at + 1}`, () =>
      Effect.map(typed(text, (text) => ["bash", "-ec", text]), ({ stderr }) => {
        assert.include(stderr, "as a machine (workload: GitHub Actions)")
      }))
  }

  it.live("of the program do what they say in a job of GitHub Actions", () =>
    typed(ts?.[0]?.text ?? "", (text) => [process.execPath, "--input-type=module-typescript", "-e", text]))

  it.live("of the program do what they say in a pod, with the layer for pods", () =>
    provided((provider, own) =>
      Effect.gen(function*() {
        const file = path.join(own.directory, "token")
        fs.writeFileSync(file, Redacted.value(yield* provider.platform.sign({})))
        const block = ts?.find(({ section }) => section === "Kubernetes")?.text ?? ""
        const program = `${block.replaceAll("/var/run/secrets/idp/token", file)}
          import { AuthManager } from "@effect-authn/core"
          import { Effect } from "effect"
          const session = await Effect.runPromise(
            Effect.flatMap(AuthManager.AuthManager, (auth) => auth.login(undefined, { store: false })).pipe(Effect.provide(layer))
          )
          console.log(session.strategy)`
        const here = program.replaceAll("https://idp.example.com", provider.issuer)
          .replace("clientId: \"deploy\"", `clientId: "${provider.publicClient.id}"`)
        const ended = yield* own.spawn(["--input-type=module-typescript", "-e", here], { instead: process.execPath })
        assert.include(ended.stdout, "workload: Kubernetes", ended.stderr)
      })
    ))
})

describe("what a program asks for", () => {
  it.live("is never given the token of another API: variables, flags and programs of the same account", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const { id, secret } = provider.secretClient
        const signedIn = yield* home.spawn([
          "login",
          "--dialect",
          "oidc",
          "--issuer",
          provider.issuer,
          "--client-id",
          id,
          "--client-secret-stdin",
          "--resource",
          provider.resource,
          "--scope",
          "api:read"
        ], { input: `${Redacted.value(secret)}\n` })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        const own = yield* home.spawn(["token"])
        const audOf = (token: string) => JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()).aud
        const env = { AUTHN_RESOURCE: "urn:x" }
        for (
          const other of [
            yield* home.spawn(["token"], { env }),
            yield* home.spawn(["token", "--resource", "urn:x"]),
            yield* home.spawn(["exec", "--", "sh", "-c", "echo $AUTHN_TOKEN"], { env })
          ]
        ) {
          assert.strictEqual(other.code, 0, other.stderr)
          assert.strictEqual(audOf(other.stdout), "urn:x")
        }
        assert.strictEqual(audOf(own.stdout), provider.resource)
        const same = yield* home.spawn(["token"], { env: { AUTHN_RESOURCE: provider.resource } })
        assert.strictEqual(same.stdout, own.stdout)
        // The session of the account is that of another program now, which asked for nothing.
        const account = data(home, "accounts", "default.json")
        fs.writeFileSync(account, fs.readFileSync(account, "utf8").replace(provider.resource, "urn:other"))
        const other = yield* home.spawn(["token"])
        assert.strictEqual(audOf(other.stdout), "urn:other", "the short way looks, too")
      })
    ))
})
