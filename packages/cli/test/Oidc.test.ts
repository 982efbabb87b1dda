import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { FetchHttpClient } from "effect/http"
import * as fs from "node:fs"
import * as path from "node:path"
import { expire, type Home, home } from "./authn.ts"

const provided = <A, E, R>(
  test: (provider: OidcProvider.OidcProvider["Service"], home: Home) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    return yield* test(yield* OidcProvider.OidcProvider, yield* home)
  }).pipe(Effect.provide(Layer.fresh(OidcProvider.layer())), Effect.scoped)

const answers = { login: "ada", password: "any" }

const visit = (url: string) =>
  ScriptedUserAgent.make().visit(url, { answers }).pipe(Effect.provide(FetchHttpClient.layer))

/** Runs a login while a person does what it says, as soon as an address is in a file that the login writes to. */
const browserOf = (home: Home) => {
  const file = path.join(home.directory, "opened")
  const bin = path.join(home.directory, "bin")
  fs.mkdirSync(bin)
  fs.writeFileSync(
    path.join(bin, "xdg-open"),
    `#!/bin/sh\nprintf %s "$1" > '${file}.tmp' && mv '${file}.tmp' '${file}'\n`,
    { mode: 0o755 }
  )
  const opened = Effect.suspend(() =>
    fs.existsSync(file) ? Effect.succeed(fs.readFileSync(file, "utf8")) : Effect.fail("not yet" as const)
  ).pipe(Effect.retry(Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(600)])))
  return { env: { PATH: `${bin}:${home.env["PATH"] ?? ""}`, DISPLAY: ":0" }, opened }
}

describe("an OpenID provider", { timeout: 90_000 }, () => {
  it.live("gives client credentials, whose secret lies beside the session and nowhere else", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const { id, secret } = provider.secretClient
        const plain = Redacted.value(secret)
        const args = [
          "login",
          "--dialect",
          "oidc",
          "--issuer",
          provider.issuer,
          "--client-id",
          id,
          "--client-secret-stdin"
        ]
        const signedIn = yield* home.run(args, { input: `${plain}\n` })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        const first = (yield* home.run(["token"])).stdout
        expire(home, Date.now() - 1000)
        const second = yield* home.run(["token"])
        assert.strictEqual(second.code, 0, second.stderr)
        assert.notStrictEqual(second.stdout, first)
        for (
          const command of [["status"], ["status", "--json"], ["explain"], ["config"], ["doctor"], [
            "accounts",
            "--json"
          ]]
        ) {
          const { stderr, stdout } = yield* home.run(command)
          assert.notInclude(stdout + stderr, plain, command.join(" "))
          assert.notInclude(stdout + stderr, second.stdout.trim(), command.join(" "))
        }
        const accounts = path.join(home.directory, ".local/share/effect-authn/accounts")
        for (const file of fs.readdirSync(accounts)) {
          assert.notInclude(fs.readFileSync(path.join(accounts, file), "utf8"), plain)
        }
        yield* home.run(["accounts", "remove", "default"])
        const sessions = path.join(home.directory, ".local/share/effect-authn/sessions")
        assert.deepStrictEqual(
          fs.readdirSync(sessions).filter((file) => file.endsWith(".json")),
          []
        )
        const wrong = yield* home.run(args, { input: "wrong\n" })
        assert.strictEqual(wrong.code, 1, wrong.stderr)
      })
    ))

  it.live("signs a person in with the browser, and renews", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const browser = browserOf(home)
        const args = [
          "login",
          "--dialect",
          "oidc",
          "--issuer",
          provider.issuer,
          "--client-id",
          provider.publicClient.id,
          "--browser"
        ]
        const [signedIn, page] = yield* Effect.all([
          home.run(args, { env: browser.env, atOnce: true }),
          Effect.flatMap(browser.opened, visit)
        ], { concurrency: 2 })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        assert.strictEqual(page.status, 200)
        const whoami = yield* home.run(["whoami"])
        assert.match(whoami.stdout, /id +ada/, whoami.stderr)
        const first = (yield* home.run(["token"])).stdout
        expire(home, Date.now() - 1000)
        const second = yield* home.run(["token"])
        assert.strictEqual(second.code, 0, second.stderr)
        assert.notStrictEqual(second.stdout, first)
        const out = yield* home.run(["logout"])
        assert.include(out.stderr, "the IAM ended the session")
      })
    ))

  it.live("signs a person in with a code", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const file = path.join(home.directory, "said")
        const args = [
          "login",
          "--dialect",
          "oidc",
          "--issuer",
          provider.issuer,
          "--client-id",
          provider.publicClient.id,
          "--device"
        ]
        const address = Effect.suspend(() => {
          const [url] = /http:\S+user_code=\S+/.exec(fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "") ?? []
          return url === undefined ? Effect.fail("not yet" as const) : Effect.succeed(url)
        }).pipe(Effect.retry(Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(600)])))
        const [signedIn] = yield* Effect.all([
          home.run(args, { by: ["sh", "-c", `exec "$@" 2> '${file}'`, "sh"], atOnce: true }),
          Effect.flatMap(address, visit)
        ], { concurrency: 2 })
        assert.strictEqual(signedIn.code, 0, fs.readFileSync(file, "utf8"))
        assert.notStrictEqual((yield* home.run(["token"])).stdout, "")
      })
    ))
})
