// The examples of the documentation do what the documentation says.
import {
  type AuthError,
  AuthManager,
  AuthStrategy,
  IamClient,
  Selection,
  SessionKeeper,
  SessionKey,
  TokenStorage
} from "@effect-authn/core"
import { IamClientSuite, IamSimulator, ScriptedIam, TokenStorageSuite } from "@effect-authn/testing"
import { RestPolicy, Vault } from "@effect-authn/vault"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, FileSystem, Layer, Option, Redacted } from "effect"
import { TestRunner } from "effect/cluster"
import { FetchHttpClient, HttpClient, HttpClientResponse } from "effect/http"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import * as KeyValueStorage from "../../docs/examples/key-value-storage.ts"
import * as TinyIam from "../../docs/examples/tiny-iam.ts"
import { tokenFile, tokenFileOrStored } from "../../docs/examples/token-file.ts"
import * as TwoIams from "../../docs/examples/two-iams.ts"
import * as VaultInACluster from "../../docs/examples/vault-in-a-cluster.ts"
import { run } from "./run.ts"

// Registers its own tests.
import "../../docs/examples/greeting.test.ts"

const root = path.join(import.meta.dirname, "../..")
const text = (file: string) => fs.readFileSync(path.join(root, file), "utf8")
const examples = [
  ...fs.readdirSync(path.join(root, "docs/examples")).map((name) => text(`docs/examples/${name}`)),
  text("scripts/test/examples.test.ts")
]

const dedent = (code: string): string => {
  const lines = code.split("\n")
  const indent = Math.min(...lines.filter((line) => line.trim() !== "").map((line) => /^ */.exec(line)![0].length))
  return lines.map((line) => line.slice(indent)).join("\n").trim()
}
const blocks = (file: string) => [...text(file).matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!.trim())

const documents = [...fs.globSync(["*.md", "docs/**/*.md", ".changeset/*.md", "packages/**/README.md"], {
  cwd: root,
  exclude: (file) => file.includes("node_modules")
})]
const headings = (file: string) =>
  [...text(file).matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-")
  )

describe("what the documents quote and link to", () => {
  it("complete snippets or lines of the examples, and nothing else", () => {
    // What the API reference shows stands in the sources.
    for (const document of documents.filter((file) => !file.startsWith("docs/api/"))) {
      for (const block of blocks(document)) {
        if (block.startsWith("import ")) continue
        const lines = block.split("\n").length
        assert.isTrue(
          examples.some((example) => {
            const all = example.split("\n")
            return all.some((_, at) => dedent(all.slice(at, at + lines).join("\n")) === dedent(block))
          }),
          `${document} quotes what no example has:\n${block}`
        )
      }
    }
  })

  it("whole examples, to the letter", () => {
    const whole = {
      "README.md": "shared-session",
      "docs/signing-in.md": "browser-sign-in",
      "docs/without-effect.md": "without-effect",
      "docs/errors.md": "errors"
    }
    for (const [document, example] of Object.entries(whole)) {
      assert.include(blocks(document), text(`docs/examples/${example}.ts`).trim())
    }
  })

  it("a fetch with a token, without Effect, in fourteen lines", () => {
    assert.isAtMost(text("docs/examples/without-effect.ts").trim().split("\n").length, 14)
  })

  it("files that exist, and headings that are there", () => {
    for (const document of documents) {
      for (const [, target] of text(document).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target!)) continue
        const [file, heading] = target!.split("#")
        const linked = file === "" ? document : path.join(path.dirname(document), file!)
        assert.isTrue(fs.existsSync(path.join(root, linked)), `${document} links to ${target}, which is not there`)
        if (heading !== undefined) {
          assert.include(headings(linked), heading, `${document} links to a heading of ${linked} that is not there`)
        }
      }
    }
  })
})

describe("a storage", () => {
  const memory = KeyValueStorage.layer({ description: "a test's key-value store", durable: false })
  TokenStorageSuite.suite("docs: key-value store", Layer.provide(memory, KeyValueStore.layerMemory))

  it.effect("what is damaged is set aside, reported once, and then signed out", () =>
    Effect.gen(function*() {
      const store = yield* KeyValueStore.KeyValueStore
      const auth = yield* AuthManager.AuthManager
      const storage = yield* TokenStorage.TokenStorage
      yield* store.set(`session:${auth.key.id}`, "{ half a docu")
      const error = yield* Effect.flip(storage.get(auth.key))
      assert.strictEqual(error.reason._tag, "StorageCorrupt")
      assert.deepStrictEqual(yield* storage.get(auth.key), Option.none())
      assert.strictEqual(yield* store.get(`damaged:${auth.key.id}`), "{ half a docu")
      yield* auth.login(AuthStrategy.password({ handle: "ada", password: ScriptedIam.password }))
      assert.isTrue(Option.isSome(yield* storage.get(auth.key)))
    }).pipe(Effect.provide(
      AuthManager.layer().pipe(
        Layer.provideMerge(SessionKeeper.layer),
        Layer.provideMerge([memory, ScriptedIam.layer()]),
        Layer.provideMerge(KeyValueStore.layerMemory)
      )
    )))
})

const simulator = IamSimulator.IamSimulator

describe("a dialect", () => {
  const password = (handle: string, text: string) =>
    IamClient.Credentials.cases.Password.make({ handle, password: Redacted.make(text) })

  IamClientSuite.suite(
    "docs: tiny",
    Layer.unwrap(simulator.useSync(({ issuer }) => TinyIam.layer({ issuer }))).pipe(
      Layer.provideMerge(IamSimulator.layer()),
      Layer.provide(FetchHttpClient.layer)
    ),
    {
      credentials: password("ada", "correct-horse-battery"),
      handle: "ada",
      refused: [password("ada", "canary-5fd1"), password("eve", "canary-a713")],
      whoami: "route",
      fail: (fault) => simulator.use((iam) => iam.setKnobs({ fail: [`login:${fault === "drop" ? "drop" : 503}:1`] })),
      forget: simulator.use((iam) => iam.revokeAll),
      requests: simulator.use((iam) => Effect.map(iam.ledger, (entries) => entries.length))
    }
  )
})

describe("a strategy", () => {
  const layers = AuthManager.layer().pipe(
    Layer.provideMerge(SessionKeeper.layer),
    Layer.provideMerge([ScriptedIam.layer(), TokenStorage.layerMemory, NodeServices.layer])
  )
  const directory = FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped())

  it.effect("signs in with the token in the file", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const file = path.join(yield* directory, "token")
      const token = yield* ScriptedIam.ScriptedIam.use((iam) => iam.issue)
      yield* FileSystem.FileSystem.use((fs) => fs.writeFileString(file, `${Redacted.value(token)}\n`))
      yield* auth.login(tokenFile(file))
      assert.strictEqual(Redacted.value((yield* auth.token).accessToken), Redacted.value(token))
    }).pipe(Effect.provide(layers)))

  it.effect("no file is nothing to try, and the next strategy is asked", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const file = path.join(yield* directory, "token")
      const error = yield* Effect.flip(auth.login(tokenFileOrStored(file)))
      assert.isTrue(error._tag === "NoCredentials")
      if (error._tag === "NoCredentials") {
        assert.deepStrictEqual(error.tried.map(({ strategy }) => strategy), ["token file", "stored"])
        assert.include(error.message, file)
      }
      yield* auth.login(AuthStrategy.password({ handle: "ada", password: ScriptedIam.password }))
      assert.strictEqual((yield* auth.login(tokenFileOrStored(file))).strategy, "password")
    }).pipe(Effect.provide(layers)))

  it.effect("a file that cannot be read is a failure, and no other strategy is asked", () =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      yield* auth.login(AuthStrategy.password({ handle: "ada", password: ScriptedIam.password }))
      const error = yield* Effect.flip(auth.login(tokenFileOrStored(yield* directory)))
      assert.strictEqual(error._tag, "InvalidCredentials")
    }).pipe(Effect.provide(layers)))

  it("what a strategy needs is in the type of the login", () => {
    const login = (auth: AuthManager.AuthManager["Service"]) => auth.login(tokenFile("/token"))
    // does not compile when it is not
    const needs = (service: FileSystem.FileSystem): Effect.Services<ReturnType<typeof login>> => service
    assert.isFunction(needs)
  })
})

describe("one program text, two dialects", () => {
  for (const dialect of ["datalayer", "genomcore"] as const) {
    it.live(`${dialect}-style`, () =>
      Effect.gen(function*() {
        const iam = yield* simulator
        const { code, stderr, stdout } = yield* run(
          process.execPath,
          [path.join(root, "docs/examples/two-dialects.ts"), dialect, iam.issuer],
          { env: { IAM_PASSWORD: "correct-horse-battery" } }
        )
        assert.deepStrictEqual(
          [code, stderr, ...stdout.trim().split("\n")],
          [
            0,
            "",
            "signed in as ada",
            "the API answers 200",
            "a new token",
            "the API answers 200",
            "signed out"
          ]
        )
        const ledger = yield* iam.ledger
        assert.deepStrictEqual(
          ledger.map(({ route, status }) => `${route} ${status}`),
          dialect === "datalayer"
            ? ["login 201", "echo 200", "login 201", "echo 200", "logout 200"]
            : ["login 201", "echo 200", "refresh 201", "echo 200"]
        )
        assert.deepStrictEqual([...new Set(ledger.map(({ subject }) => subject))], ["ada"])
      }).pipe(Effect.provide(IamSimulator.layer())))
  }
})

describe("a vault in a cluster", () => {
  it.effect("renews what is due at rest, on the runner that has the sweeper", () =>
    Effect.gen(function*() {
      const iam = yield* Layer.build(ScriptedIam.layer({ rotation: "strict", lifetime: "1 minute" }))
      const client = Context.get(iam, IamClient.IamClient)
      const stored = yield* Layer.build(
        Layer.provide(TokenStorage.layerMemory, RestPolicy.layer({ renewIdle: "3 minutes", spread: 0 }))
      )
      const vault = yield* Layer.build(
        Layer.provide(
          Vault.layer({ providers: [Layer.succeed(IamClient.IamClient, client)], keepOpen: "1 second" }),
          Layer.succeedContext(stored)
        )
      )
      const issued = yield* client.login(
        { _tag: "Password", handle: "ada", password: ScriptedIam.password },
        Selection.none
      )
      const key = SessionKey.SessionKey.make({ issuer: client.issuer, clientId: client.clientId, account: "ada" })
      yield* Context.get(vault, Vault.Vault).put(key, issued)
      yield* Layer.build(
        VaultInACluster.sweeper.pipe(
          Layer.provide(Layer.succeedContext(Context.merge(vault, stored))),
          Layer.provide(TestRunner.layer)
        )
      )
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* Context.get(iam, ScriptedIam.ScriptedIam).count("renew"), 0)
      yield* TestClock.adjust("90 seconds")
      assert.strictEqual(yield* Context.get(iam, ScriptedIam.ScriptedIam).count("renew"), 1)
    }))
})

describe("one program, two IAMs", () => {
  /** A session of its own; each IAM makes its tokens as it likes. */
  const signedIn = (next: (auth: AuthManager.AuthManager["Service"]) => Effect.Effect<unknown, AuthError.AuthError>) =>
    Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      yield* auth.login(AuthStrategy.password({ handle: "ada", password: ScriptedIam.password }))
      yield* next(auth)
      return auth
    }).pipe(Effect.provide(
      Layer.fresh(AuthManager.layer()).pipe(
        Layer.provide(Layer.fresh(SessionKeeper.layer)),
        Layer.provide(Layer.fresh(Layer.merge(ScriptedIam.layer(), TokenStorage.layerMemory)))
      ),
      { local: true }
    ))

  it.effect("copies the notes, and sends each API the token of its own IAM", () =>
    Effect.gen(function*() {
      const sent: Array<readonly [url: string, authorization: string | undefined]> = []
      const api = HttpClient.make((request, url) =>
        Effect.sync(() => {
          sent.push([url.href, request.headers["authorization"]])
          return HttpClientResponse.fromWeb(request, Response.json(request.method === "GET" ? ["buy milk"] : "added"))
        })
      )
      const home = yield* TwoIams.Home
      const work = yield* TwoIams.Work
      const added = yield* Effect.provideService(TwoIams.copy, HttpClient.HttpClient, api)
      assert.deepStrictEqual(added, ["added"])
      assert.deepStrictEqual(sent, [
        ["https://home.example/notes", Redacted.value(yield* home.bearer)],
        ["https://work.example/api/notes", Redacted.value(yield* work.bearer)]
      ])
      assert.notStrictEqual(sent[0]![1], sent[1]![1])
    }).pipe(Effect.provide([
      Layer.effect(TwoIams.Home, signedIn(() => Effect.void)),
      Layer.effect(TwoIams.Work, signedIn((auth) => auth.refresh())),
      ConfigProvider.layer(
        ConfigProvider.fromEnv({ env: { HOME_API: "https://home.example", WORK_API: "https://work.example/api" } })
      )
    ])))
})
