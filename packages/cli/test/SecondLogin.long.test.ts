import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { provided, storedToken, visit, written } from "./authn.ts"

describe("a second login of one account", () => {
  const started = (said: string) => ({ by: ["sh", "-c", `exec "$@" 2> '${said}'`, "sh"], atOnce: true })

  it.live("says who has the first one and what ends it, and takes what the first one signs in", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const [first, second] = ["first", "second"].map((name) => path.join(home.directory, name))
        const { id } = provider.publicClient
        const args = ["login", "--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id, "--device"]
        const one = yield* Effect.forkChild(home.spawn(args, started(first!)))
        const url = yield* written(first!, /(http:\S+user_code=\S+)\n/)
        const two = yield* Effect.forkChild(home.spawn(args, started(second!)))
        yield* written(second!, /(process \d+ on .* is signing in already.*finish that login, or end that program)/)
        assert.notInclude(fs.readFileSync(second!, "utf8"), "user_code")
        yield* visit(url)
        assert.strictEqual((yield* Fiber.join(one)).code, 0)
        assert.strictEqual((yield* Fiber.join(two)).code, 0, fs.readFileSync(second!, "utf8"))
        assert.notInclude(fs.readFileSync(second!, "utf8"), "user_code")
        assert.notStrictEqual(storedToken(home), "")
      })
    ))

  it.live("goes on when the first one is ended", () =>
    provided((provider, home) =>
      Effect.gen(function*() {
        const [first, second] = ["first", "second"].map((name) => path.join(home.directory, name))
        const { id } = provider.publicClient
        const args = ["login", "--dialect", "oidc", "--issuer", provider.issuer, "--client-id", id, "--device"]
        const { promise, resolve } = Promise.withResolvers<void>()
        const signal = { name: "SIGKILL", when: promise } as const
        const one = yield* Effect.forkChild(home.spawn(args, { ...started(first!), signal }))
        yield* written(first!, /(user_code)/)
        const two = yield* Effect.forkChild(home.spawn(args, started(second!)))
        yield* written(second!, /(is signing in already)/)
        resolve()
        yield* Fiber.join(one)
        yield* Effect.flatMap(written(second!, /(http:\S+user_code=\S+)\n/), (url) => visit(url))
        assert.strictEqual((yield* Fiber.join(two)).code, 0)
      })
    ))
})
