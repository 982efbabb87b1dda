/** A client that proves who it is by a certificate, at a server that asks for one. */
import { IamHttp } from "@effect-authn/core"
import { ClientCertificate, SecretFile } from "@effect-authn/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Result } from "effect"
import { HttpClientRequest } from "effect/http"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs/promises"
import { createServer } from "node:https"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as Tls from "node:tls"
import { one, server, two } from "./certificates.ts"

// As NODE_EXTRA_CA_CERTS would have it.
Tls.setDefaultCACertificates([...Tls.getCACertificates("default"), server.cert])

/** Answers with the name in the certificate that it was shown. */
const serve = Effect.map(
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<{ readonly origin: string; readonly stop: () => void }>((resolve) => {
        const running = createServer(
          { ...server, requestCert: true, ca: [one.cert, two.cert], rejectUnauthorized: true },
          (request, response) => {
            const { socket } = request
            const name = socket instanceof Tls.TLSSocket ? socket.getPeerCertificate().subject.CN : "nobody"
            response.setHeader("content-type", "application/json")
            response.end(JSON.stringify({ name }))
          }
        )
        running.on("tlsClientError", () => {})
        running.listen(0, "127.0.0.1", () => {
          const address = running.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resolve({
            origin: `https://127.0.0.1:${port}`,
            stop: () => {
              running.close()
              running.closeAllConnections()
            }
          })
        })
      })
    ),
    ({ stop }) => Effect.sync(stop)
  ),
  ({ origin }) => origin
)

const ask = (origin: string) =>
  Effect.map(
    IamHttp.execute(HttpClientRequest.get(origin), { issuer: origin, method: "login", secrets: [] }),
    ({ body }) => body._tag === "Some" ? body.value["name"] : undefined
  )

describe("a client's certificate", () => {
  it.live("is shown, and one that was renewed is taken up by the next request", () =>
    Effect.gen(function*() {
      const origin = yield* serve
      const directory = yield* Effect.acquireRelease(
        Effect.promise(() => Fs.mkdtemp(Path.join(tmpdir(), "certificate-"))),
        (path) => Effect.promise(() => Fs.rm(path, { recursive: true }))
      )
      const [cert, key] = [Path.join(directory, "tls.crt"), Path.join(directory, "tls.key")]
      const put = (pair: typeof one) =>
        Effect.promise(() => Promise.all([Fs.writeFile(cert, pair.cert), Fs.writeFile(key, pair.key)]))
      yield* put(one)
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* ask(origin), "one")
        yield* put(two)
        assert.strictEqual(yield* ask(origin), "two")
        yield* Effect.promise(() => Fs.writeFile(key, one.key))
        const { reason } = yield* Effect.flip(ask(origin))
        assert.strictEqual(reason._tag, "Misconfigured")
        assert.include(reason.message, "not of each other")
        yield* Effect.promise(() => Fs.rm(key))
        assert.include((yield* Effect.flip(ask(origin))).message, "is not there")
        yield* put(one)
        assert.strictEqual(yield* ask(origin), "one")
      }).pipe(
        Effect.provide(
          ClientCertificate.layerHttpClient({ certificate: SecretFile.read(cert), key: SecretFile.read(key) })
        )
      )
    }))

  it.live("that is constant is shown; one that is none is refused before anything is sent", () =>
    Effect.gen(function*() {
      const origin = yield* serve
      const layer = (key: string) =>
        ClientCertificate.layerHttpClient({ certificate: Redacted.make(one.cert), key: Redacted.make(key) })
      assert.strictEqual(yield* Effect.provide(ask(origin), layer(one.key)), "one")
      const { message, reason } = yield* Effect.flip(Effect.provide(ask(origin), Layer.fresh(layer("canary-key"))))
      assert.strictEqual(reason._tag, "Misconfigured")
      assert.notInclude(message, "canary")
    }))

  const rsa = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey
  const sealed = (type: "pkcs1" | "pkcs8") =>
    String(rsa.export({ type, format: "pem", cipher: "aes-256-cbc", passphrase: "canary" }))
  const pairs: Record<string, readonly [cert: string, key: string, says: string]> = {
    // With a key of another kind TLS would show no certificate at all, and say nothing.
    "and a key of another kind": [one.cert, String(rsa.export({ type: "pkcs8", format: "pem" })), "not of each other"],
    "and the key of another one": [one.cert, two.key, "not of each other"],
    "that is empty": ["", one.key, "no certificate in PEM"],
    "in the place of its key, and the other way round": [one.key, one.cert, "no certificate in PEM"],
    "and a public key": [
      one.cert,
      String(Crypto.createPublicKey(one.key).export({ type: "spki", format: "pem" })),
      "no private key in PEM"
    ],
    "and a key that is encrypted": [one.cert, sealed("pkcs8"), "decrypt it"],
    "and a key that is encrypted in the old way": [one.cert, sealed("pkcs1"), "decrypt it"]
  }
  for (const [name, [cert, key, says]] of Object.entries(pairs)) {
    it.live(`${name} is refused, and nothing is sent without it`, () =>
      Effect.gen(function*() {
        const layer = ClientCertificate.layerHttpClient({ certificate: Redacted.make(cert), key: Redacted.make(key) })
        const asked = yield* Effect.result(Effect.provide(Effect.flatMap(serve, ask), layer))
        assert(Result.isFailure(asked), `it was shown as ${JSON.stringify(asked)}`)
        assert.strictEqual(asked.failure.reason._tag, "Misconfigured")
        assert.include(asked.failure.message, says)
        assert.notInclude(asked.failure.message, "canary")
      }))
  }
})
