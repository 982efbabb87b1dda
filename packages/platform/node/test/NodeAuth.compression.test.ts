// Answers in the content codings of common servers: none of them costs a session, and a bomb fills no memory.
import { AuthHttpClient, AuthManager, AuthStrategy, IamHttp, Jwks, TokenStorage } from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { NodeAuth } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted, type Scope } from "effect"
import { HttpClientRequest } from "effect/http"
import { createServer } from "node:http"
import * as Zlib from "node:zlib"

interface Reply {
  readonly coding: string
  readonly bytes: Uint8Array
  readonly status?: number
}

const serve = (reply: (path: string, origin: string) => Reply): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly origin: string; readonly stop: () => void }>((resume) => {
        let origin = ""
        const server = createServer((request, response) => {
          request.resume()
          const { bytes, coding, status = 200 } = reply(request.url ?? "", origin)
          response.writeHead(status, { "content-type": "application/json", "content-encoding": coding })
          response.end(bytes)
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          origin = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
          const stop = () => {
            server.close()
            server.closeAllConnections()
          }
          resume(Effect.succeed({ origin, stop }))
        })
      }),
      ({ stop }) => Effect.sync(stop)
    ),
    ({ origin }) => origin
  )

const codings: Record<string, (text: string) => Uint8Array> = {
  gzip: (text) => Zlib.gzipSync(text),
  "X-GZip": (text) => Zlib.gzipSync(text),
  deflate: (text) => Zlib.deflateSync(text),
  // Without the frame that the standard asks for.
  "Deflate": (text) => Zlib.deflateRawSync(text),
  br: (text) => Zlib.brotliCompressSync(text),
  zstd: (text) => Zlib.zstdCompressSync(text),
  identity: (text) => Buffer.from(text),
  "gzip, br": (text) => Zlib.brotliCompressSync(Zlib.gzipSync(text))
}

const call = (issuer: string): IamHttp.Call => ({ issuer, method: "login", secrets: [] })
const ask = (origin: string) =>
  Effect.provide(IamHttp.execute(HttpClientRequest.post(origin), call(origin)), NodeAuth.layerHttpClient)

describe("an answer of an IAM", () => {
  for (const [coding, encode] of Object.entries(codings)) {
    it.live(`is read in ${coding}`, () =>
      Effect.gen(function*() {
        for (const status of [200, 400]) {
          const origin = yield* serve(() => ({ coding, bytes: encode(`{"message":"é"}`), status }))
          assert.deepStrictEqual((yield* ask(origin)).message, Option.some("é"))
        }
      }))
  }

  it.live("that has no body and names a coding is empty", () =>
    Effect.gen(function*() {
      for (const coding of Object.keys(codings)) {
        const origin = yield* serve(() => ({ coding, bytes: Buffer.from(""), status: 400 }))
        const { isEmpty, status } = yield* ask(origin)
        assert.deepStrictEqual({ status, isEmpty }, { status: 400, isEmpty: true }, coding)
      }
    }))

  it.live("in a coding that nobody knows has no body that is its own word", () =>
    Effect.gen(function*() {
      const origin = yield* serve(() => ({ coding: "x-own", bytes: Buffer.from("?") }))
      assert.isTrue(Option.isNone((yield* ask(origin)).body))
    }))

  it.live("that breaks off in the middle of its coding is no answer", () =>
    Effect.gen(function*() {
      const whole = Zlib.gzipSync(JSON.stringify({ a: "x".repeat(5000) }))
      for (const bytes of [whole.subarray(0, 20), Buffer.from("no gzip at all")]) {
        const origin = yield* serve(() => ({ coding: "gzip", bytes }))
        const { reason } = yield* Effect.flip(ask(origin))
        assert.isTrue(reason._tag === "Unavailable" && reason.sent === "maybe")
        assert.include(reason.message, "Content-Encoding")
      }
    }))

  it.live("that becomes huge is refused before it is whole", () =>
    Effect.gen(function*() {
      const size = 256 * 1024 * 1024
      const bomb = Zlib.gzipSync(Buffer.alloc(size))
      const origin = yield* serve(() => ({ coding: "gzip", bytes: bomb }))
      const before = process.memoryUsage().rss
      const { reason } = yield* Effect.flip(ask(origin))
      assert.strictEqual(reason._tag, "Malformed")
      assert.include(reason.message, "more than 1 MiB")
      assert.isBelow(process.memoryUsage().rss - before, size / 2)
    }))
})

describe("the answer of an API", () => {
  it.live("is decoded for whoever carries the session, whatever its size", () =>
    Effect.gen(function*() {
      const note = "a note".repeat(1_000_000)
      const issuer = yield* serve((path) => {
        const bytes = Zlib.gzipSync(
          JSON.stringify(path === "/notes" ? note : { success: true, profile: { uid: "ada" } })
        )
        return { coding: "gzip", bytes }
      })
      const program = Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        yield* auth.login(AuthStrategy.token(Redacted.make("at-1")))
        const api = yield* AuthHttpClient.make({ baseUrl: issuer })
        assert.strictEqual(yield* Effect.flatMap(api.get("/notes"), ({ json }) => json), note)
      })
      const storage = TokenStorage.layerMemory
      yield* Effect.provide(program, NodeAuth.layer(DatalayerIam.layer({ issuer }), { storage }))
    }))

  it.live("is decoded where it is a key set", () =>
    Effect.gen(function*() {
      const { publicKey } = yield* Effect.promise(() =>
        crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"])
      )
      const key = yield* Effect.promise(() => crypto.subtle.exportKey("jwk", publicKey))
      const origin = yield* serve(() => ({ coding: "br", bytes: codings["br"]!(JSON.stringify({ keys: [key] })) }))
      const found = Effect.flatMap(Jwks.remote(`${origin}/jwks`), (keys) => keys.find({ alg: "ES256" }))
      assert.lengthOf(yield* Effect.provide(found, NodeAuth.layerHttpClient), 1)
    }))
})
