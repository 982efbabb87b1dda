/** A session in a plain file whose key is in the keychain: who has the file alone has nothing. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { isThere, startSecretService } from "../../storage/keyring/test/secretService.ts"
import { browserOf, data, installedMain, provided, stored, visit } from "./authn.ts"

it.live.runIf(isThere)(
  "a stolen file is worth nothing without the keychain, and logout takes the key along",
  () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const service = yield* Effect.acquireRelease(
          Effect.promise(startSecretService),
          ({ stop }) => Effect.promise(stop)
        )
        const browser = browserOf(home)
        const main = installedMain(home)
        const bus = { DBUS_SESSION_BUS_ADDRESS: service.address }
        const keys = Effect.promise(service.labels)
        const run = (args: ReadonlyArray<string>, env: { readonly [name: string]: string } = bus) =>
          home.spawn(args, { main, env })
        const named = ["--dialect", "oidc", "--issuer", provider.issuer, "--client-id", provider.publicClient.id]
        const before = yield* keys
        const [signedIn] = yield* Effect.all([
          home.spawn(["login", ...named, "--browser", "--dpop"], {
            main,
            env: { ...browser.env, ...bus },
            atOnce: true
          }),
          Effect.flatMap(browser.opened, (url) => visit(url))
        ], { concurrency: 2 })
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        const { document } = stored(home)
        assert.strictEqual(document.session.proofKey._tag, "Held")
        assert.notProperty(document.session.proofKey, "jwk")
        assert.strictEqual((yield* keys).length, before.length + 1)

        const renewed = yield* run(["refresh"])
        assert.strictEqual(renewed.code, 0, renewed.stderr)
        assert.match((yield* run(["whoami"])).stdout, /id +ada/)
        assert.include((yield* run(["status"])).stdout, "a key in the keychain")

        // the same file, where the keychain is not
        const { grant, tokens } = stored(home).document.session
        for (const args of [["refresh"], ["token"]]) {
          const stolen = yield* run(args, {})
          assert.strictEqual(stolen.code, 1, stolen.stderr)
          assert.include(stolen.stderr, "bound")
          assert.strictEqual(stolen.stdout, "")
        }
        const kept = stored(home).document.session
        assert.deepStrictEqual([kept.grant, kept.tokens, kept.dead], [grant, tokens, undefined])

        const out = yield* run(["logout"])
        assert.include(out.stderr, "the IAM ended the session")
        assert.deepStrictEqual(yield* keys, before)
        assert.isEmpty(fs.readdirSync(data(home, "sessions")).filter((name) => name.endsWith(".json")))
      })
    )
)
