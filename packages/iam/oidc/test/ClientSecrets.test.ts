/** What a client authenticates with, where it rotates, is made by somebody else, or is a key in one of its many forms. */
import { IamClient, IamError, JwtCodec, Selection, WorkloadIdentity } from "@effect-authn/core"
import { type ClientAuthentication, OidcIam } from "@effect-authn/iam-oidc"
import { assert, describe, it } from "@effect/vitest"
import { Data, Duration, Effect, Layer, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import * as Crypto from "node:crypto"
import { type Asked, serve, sessionOf, sign } from "./rawProvider.ts"

const tokens = { access_token: "at-1", token_type: "Bearer", expires_in: 300, refresh_token: "rt-1" }

const layerOf = (
  issuer: string,
  clientAuthentication: ClientAuthentication.ClientAuthentication,
  timeLimit?: Duration.Duration
) =>
  OidcIam.layer({
    issuer,
    clientId: "cli",
    clientAuthentication,
    ...(timeLimit === undefined ? {} : { policy: { timeLimit } })
  }).pipe(Layer.provide(FetchHttpClient.layer))

const renew = (issuer: string) =>
  Effect.gen(function*() {
    const iam = yield* IamClient.IamClient
    return yield* iam.renew(yield* sessionOf(issuer), Selection.none)
  })

const asking = (asked: ReadonlyArray<Asked>) => asked.filter(({ path }) => path === "/token")

/** What the provider was sent by one renewal. */
const sent = Effect.fnUntraced(function*(clientAuthentication: ClientAuthentication.ClientAuthentication) {
  const server = yield* serve({ routes: { "/token": { body: tokens } } })
  yield* Effect.provide(renew(server.issuer), layerOf(server.issuer, clientAuthentication))
  const [asked] = asking(server.asked)
  return { form: asked?.form ?? new URLSearchParams(), headers: asked?.headers ?? {}, issuer: server.issuer }
})

class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

it.live("a secret that is an effect is read for each request, and the way that was taken stays", () =>
  Effect.gen(function*() {
    const server = yield* serve({
      routes: {
        "/token": ({ form }) =>
          form.get("client_secret") === null
            ? { status: 401, body: { error: "invalid_client" } }
            : { body: tokens }
      }
    })
    let count = 0
    const secret = Effect.sync(() => Redacted.make(`s-${++count}`))
    yield* Effect.gen(function*() {
      yield* renew(server.issuer)
      yield* renew(server.issuer)
    }).pipe(Effect.provide(layerOf(server.issuer, { method: "client_secret", secret })))
    assert.deepStrictEqual(
      asking(server.asked).map(({ form }) => form.get("client_secret")),
      [null, "s-1", "s-2"]
    )
  }))

it.live("a user's token is shown to userinfo without the secret, and without reading it", () =>
  Effect.gen(function*() {
    const server = yield* serve({ routes: { "/userinfo": { body: { sub: "ada" } } } })
    const session = yield* sessionOf(server.issuer)
    const secret = Effect.fail(new Broken({ message: "nobody needs it" }))
    const user = yield* Effect.flatMap(IamClient.IamClient, (iam) => iam.whoami(session)).pipe(
      Effect.provide(layerOf(server.issuer, { method: "client_secret", secret }))
    )
    assert.strictEqual(user.id, "ada")
  }))

describe("a secret that cannot be had is said before anything is sent", () => {
  const identity = (reason: WorkloadIdentity.WorkloadError["reason"]) =>
    new WorkloadIdentity.WorkloadError({ source: "Kubernetes", reason })
  const elsewhere = (reason: IamError.IamErrorReason) =>
    new IamError.IamError({ issuer: "https://other.test", method: "renew", reason })
  const rows: Record<string, readonly [Error, string]> = {
    "by any error": [new Broken({ message: "no vault" }), "Misconfigured"],
    "by a platform that is broken": [
      identity(new WorkloadIdentity.WorkloadBroken({ detail: "expired" })),
      "Misconfigured"
    ],
    "by a platform that is not there": [
      identity(new WorkloadIdentity.WorkloadAbsent({ detail: "?" })),
      "Misconfigured"
    ],
    "by a platform that is away": [
      identity(new WorkloadIdentity.WorkloadUnavailable({ detail: "status 503" })),
      "Unavailable"
    ],
    "by another IAM that may have been asked": [
      elsewhere(new IamError.Unavailable({ sent: "maybe", detail: "status 502" })),
      "Unavailable"
    ],
    // It is not this session's grant that died.
    "by another IAM whose session ended": [elsewhere(new IamError.GrantDead({ detail: "over" })), "CredentialsRefused"]
  }
  for (const [name, [error, tag]] of Object.entries(rows)) {
    it.live(`${name}: ${tag}`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ routes: { "/token": { body: tokens } } })
        const { reason } = yield* Effect.flip(
          Effect.provide(
            renew(server.issuer),
            layerOf(server.issuer, { method: "assertion", token: Effect.fail(error) })
          )
        )
        assert.strictEqual(reason._tag, tag)
        if (reason._tag === "Unavailable") assert.strictEqual(reason.sent, "no")
        assert.deepStrictEqual(asking(server.asked), [])
      }))
  }

  it.live("also where it never comes", () =>
    Effect.gen(function*() {
      const server = yield* serve({ routes: { "/token": { body: tokens } } })
      const { reason } = yield* Effect.flip(
        Effect.provide(
          renew(server.issuer),
          layerOf(server.issuer, { method: "client_secret", secret: Effect.never }, Duration.millis(200))
        )
      )
      assert.strictEqual(reason._tag === "Unavailable" ? reason.sent : reason._tag, "no")
      assert.deepStrictEqual(asking(server.asked), [])
    }))
})

it.live("an assertion is made with the secret, which is not sent", () =>
  Effect.gen(function*() {
    const secret = "canary-secret-of-32-characters-ok"
    for (const audience of [undefined, "token_endpoint"]) {
      const { form, headers, issuer } = yield* sent({
        method: "client_secret_jwt",
        secret: Redacted.make(secret),
        ...(audience === undefined ? {} : { audience })
      })
      assert.notInclude(`${form} ${JSON.stringify(headers)}`, "canary")
      const [header = "", claims = "", signature] = (form.get("client_assertion") ?? "").split(".")
      assert.strictEqual(
        Crypto.createHmac("sha256", secret).update(`${header}.${claims}`).digest("base64url"),
        signature
      )
      const { aud, iss, sub } = JSON.parse(Buffer.from(claims, "base64url").toString())
      assert.deepStrictEqual({ aud, iss, sub }, {
        aud: audience === undefined ? issuer : `${issuer}/token`,
        iss: "cli",
        sub: "cli"
      })
    }
  }))

describe("an assertion of somebody else", () => {
  it.live("is sent as it is, with its type and the client", () =>
    Effect.gen(function*() {
      const { form, headers } = yield* sent({ method: "assertion", token: Redacted.make("a.b.c") })
      assert.strictEqual(form.get("client_assertion"), "a.b.c")
      assert.strictEqual(
        form.get("client_assertion_type"),
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
      )
      assert.strictEqual(form.get("client_id"), "cli")
      assert.isUndefined(headers.authorization)
    }))

  it.live("of SPIFFE has its own type, and may name the client alone", () =>
    Effect.gen(function*() {
      const { form } = yield* sent({
        method: "assertion",
        token: Redacted.make("a.b.c"),
        type: "jwt-spiffe",
        sendClientId: false
      })
      assert.strictEqual(
        form.get("client_assertion_type"),
        "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
      )
      assert.isNull(form.get("client_id"))
    }))

  it.live("is sent without the line break of its file, and not at all where it is no token", () =>
    Effect.gen(function*() {
      const { form } = yield* sent({ method: "assertion", token: Effect.succeed(Redacted.make("a.b.c\r\n")) })
      assert.strictEqual(form.get("client_assertion"), "a.b.c")
      for (
        const [text, says] of [["\n", "is empty"], ["a.b.canary\nd.e.f", "a character that no token has"]] as const
      ) {
        const error = yield* Effect.flip(
          sent({ method: "assertion", token: Effect.succeed(Redacted.make(text)) })
        )
        assert.strictEqual(error.reason._tag, "Misconfigured")
        assert.include(error.message, says)
        assert.notInclude(error.message, "canary")
      }
    }))

  it.live("that the provider echoes is not shown", () =>
    Effect.gen(function*() {
      const token = sign({ sub: "canary" })
      const server = yield* serve({
        routes: {
          "/token": ({ form }) => ({
            status: 401,
            body: { error: "invalid_client", error_description: `no: ${form.get("client_assertion")}` }
          })
        }
      })
      const error = yield* Effect.flip(
        Effect.provide(
          renew(server.issuer),
          layerOf(server.issuer, { method: "assertion", token: Redacted.make(token) })
        )
      )
      assert.strictEqual(error.reason._tag, "Misconfigured")
      assert.notInclude(error.message, token.slice(0, 20))
    }))
})

describe("a client's key", () => {
  const rsa = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
  const ec = Crypto.generateKeyPairSync("ec", { namedCurve: "P-384" })
  const ed = Crypto.generateKeyPairSync("ed25519")
  const pem = (key: Crypto.KeyObject, type: "pkcs8" | "pkcs1" | "sec1") =>
    key.export({ format: "pem", type }).toString()
  const keysOf: Record<string, readonly [Crypto.KeyObject, string, JwtCodec.Algorithm, string?]> = {
    "RSA in PKCS#8": [rsa.publicKey, pem(rsa.privateKey, "pkcs8"), "RS256"],
    "RSA in PKCS#1": [rsa.publicKey, pem(rsa.privateKey, "pkcs1"), "RS256"],
    "RSA with another algorithm": [rsa.publicKey, pem(rsa.privateKey, "pkcs1"), "PS384", "PS384"],
    "EC in PKCS#8": [ec.publicKey, pem(ec.privateKey, "pkcs8"), "ES384"],
    "Ed25519 in PKCS#8": [ed.publicKey, pem(ed.privateKey, "pkcs8"), "EdDSA"],
    "PEM with Windows lines and a certificate before it": [
      rsa.publicKey,
      `-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----\r\n${
        pem(rsa.privateKey, "pkcs8").replaceAll("\n", "\r\n")
      }`,
      "RS256"
    ],
    "PEM from a variable, in one line with escapes": [
      rsa.publicKey,
      JSON.stringify(pem(rsa.privateKey, "pkcs8").replaceAll("\n", "\r\n")),
      "RS256"
    ],
    "a JWK whose members say nothing": [
      ec.publicKey,
      JSON.stringify({ ...ec.privateKey.export({ format: "jwk" }), alg: null, kid: null, use: null, key_ops: null }),
      "ES384"
    ],
    "a JWK whose name is a number": [
      ec.publicKey,
      JSON.stringify({ ...ec.privateKey.export({ format: "jwk" }), kid: 5 }),
      "ES384"
    ],
    "a JWK as text": [ec.publicKey, JSON.stringify(ec.privateKey.export({ format: "jwk" })), "ES384"]
  }
  for (const [name, [publicKey, text, alg, told]] of Object.entries(keysOf)) {
    for (
      const [how, key] of [["", Redacted.make(text)], [
        ", read per request",
        Effect.succeed(Redacted.make(text))
      ]] as const
    ) {
      it.live(`may be ${name}${how}`, () =>
        Effect.gen(function*() {
          const { form, issuer } = yield* sent({
            method: "private_key_jwt",
            key,
            ...(told === undefined ? {} : { alg: told })
          })
          const verified = yield* JwtCodec.JwtCodec.use((codec) =>
            codec.verify(Redacted.make(form.get("client_assertion") ?? ""), {
              key: publicKey.export({ format: "pem", type: "spki" }).toString(),
              algorithms: [alg],
              audience: issuer
            })
          ).pipe(Effect.provide(JwtCodec.layer))
          assert.strictEqual(verified.claims["sub"], "cli")
        }))
    }
  }

  it.live("signs with what else the provider wants in the header, and names it as it wants to be named", () =>
    Effect.gen(function*() {
      const { form } = yield* sent({
        method: "private_key_jwt",
        key: Redacted.make(pem(rsa.privateKey, "pkcs8")),
        kid: "k-1",
        header: { x5t: "thumb", x5c: ["MII"] },
        audience: "https://login.test/token"
      })
      const [header, claims] = (form.get("client_assertion") ?? "").split(".").slice(0, 2)
        .map((part) => JSON.parse(Buffer.from(part, "base64url").toString()))
      assert.deepStrictEqual(header, { alg: "RS256", kid: "k-1", x5t: "thumb", x5c: ["MII"] })
      assert.strictEqual(claims.aud, "https://login.test/token")
    }))

  const encrypted = ec.privateKey.export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "p" })
    .toString()
  const refused: Record<string, readonly [string, string]> = {
    "encrypted": [encrypted, "decrypt it, with openssl pkcs8 -topk8 -nocrypt"],
    "encrypted in the old way": [
      "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----",
      "decrypt it"
    ],
    "in SEC 1": [pem(ec.privateKey, "sec1"), "openssl pkcs8 -topk8"],
    "of OpenSSH": [
      "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
      "ssh-keygen -p -m PKCS8"
    ],
    "a public key": [rsa.publicKey.export({ format: "pem", type: "spki" }).toString(), "give the private one"],
    "a certificate": ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "this is a certificate"],
    "too short": [
      pem(Crypto.generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey, "pkcs8"),
      "an RSA key of 1024 bits"
    ],
    "cut short": [pem(rsa.privateKey, "pkcs8").slice(0, 300), "is it cut short?"],
    "damaged": ["-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "holds no key"],
    "empty": ["", "is it cut short?"],
    "a JWK that is public": [JSON.stringify(ec.publicKey.export({ format: "jwk" })), "give the private key"],
    "a set of keys": [JSON.stringify({ keys: [ec.privateKey.export({ format: "jwk" })] }), "one of its `keys`"],
    "half a JWK": ["{\"kty\":\"EC\"", "is it cut short?"],
    "a path": ["/run/secrets/key.pem", "neither PEM"]
  }
  for (const [name, [text, says]] of Object.entries(refused)) {
    it.live(`that is ${name} is refused, with what to do`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(
          Effect.provide(
            renew("https://idp.test"),
            layerOf("https://idp.test", { method: "private_key_jwt", key: Redacted.make(text) })
          )
        )
        assert.strictEqual(error.reason._tag, "Misconfigured")
        assert.include(error.message, says)
      }))
  }
})

it.live("who has a certificate goes to the addresses for those who have one (RFC 8705, section 5)", () =>
  Effect.gen(function*() {
    const server = yield* serve({
      discovery: (base) => ({ mtls_endpoint_aliases: { token_endpoint: `${base}/mtls/token` } }),
      routes: { "/mtls/token": { body: tokens }, "/token": { body: tokens } }
    })
    yield* Effect.provide(renew(server.issuer), layerOf(server.issuer, { method: "tls_client_auth" }))
    yield* Effect.provide(renew(server.issuer), layerOf(server.issuer, { method: "none" }))
    const paths = server.asked.filter(({ path }) => path.endsWith("/token"))
    assert.deepStrictEqual(paths.map(({ path }) => path), ["/mtls/token", "/token"])
    assert.strictEqual(paths[0]?.form.get("client_id"), "cli")
  }))
