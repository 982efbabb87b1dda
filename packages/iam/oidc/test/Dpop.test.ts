/** Sessions that are bound to a key (RFC 9449), at a provider and an API that check each proof by hand. */
import {
  AuthHttpClient,
  AuthManager,
  BrowserLogin,
  IamClient,
  ProofKeys,
  Selection,
  Session,
  SessionKeeper,
  type SessionLock,
  TokenStorage,
  TokenStorageError
} from "@effect-authn/core"
import { OidcIam, type OidcOptions, OidcStrategy } from "@effect-authn/iam-oidc"
import { Witness } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Redacted, type Schema } from "effect"
import { FetchHttpClient } from "effect/http"
import * as Crypto from "node:crypto"
import { type Asked, type Reply, type Script, seconds, serve } from "./rawProvider.ts"

const digest = (text: string) => Crypto.createHash("sha256").update(text).digest("base64url")

interface Proof {
  readonly jkt: string
  readonly htm: string
  readonly htu: string
  readonly nonce: string | undefined
  readonly ath: string | undefined
  readonly jti: string
}

/** A proof, checked as RFC 9449 says in section 4.3; what is wrong with it is thrown. */
const proofOf = ({ headers }: Asked, ahead = 0): Proof => {
  const text = headers["dpop"]
  assert(typeof text === "string", "there is no proof")
  const [head = "", body = "", signature = ""] = text.split(".")
  const { alg, jwk, typ } = JSON.parse(Buffer.from(head, "base64url").toString())
  const claims = JSON.parse(Buffer.from(body, "base64url").toString())
  assert.strictEqual(typ, "dpop+jwt")
  assert.strictEqual(alg, "ES256")
  assert.deepStrictEqual(Object.keys(jwk).sort(), ["crv", "kty", "x", "y"])
  assert(
    Crypto.verify(
      "sha256",
      Buffer.from(`${head}.${body}`),
      { key: Crypto.createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64url")
    ),
    "the signature is wrong"
  )
  assert.isBelow(Math.abs(claims.iat - seconds() - ahead), 5)
  const jkt = digest(JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y }))
  return { jkt, ...claims }
}

interface Options {
  /** What proofs have to hold, at the provider and at the API; a text for good, or another one each time. */
  readonly nonce?: (() => string) | undefined
  readonly type?: string
  readonly lifetime?: number
  readonly api?: ((asked: Asked, proof: Proof) => Reply | undefined) | undefined
}

/** A provider that binds tokens and refresh tokens to the key of the first proof, and an API that takes them. */
const bound = (options: Options = {}) => {
  const keyOf = new Map<string, string>()
  const seen = new Set<string>()
  const proofs: Array<Proof> = []
  let count = 0
  let nonce = options.nonce?.()
  const turn = () => {
    nonce = options.nonce?.()
    return { "dpop-nonce": nonce ?? "none" }
  }
  const checked = (asked: Asked, base: string, path: string) => {
    const proof = proofOf(asked)
    proofs.push(proof)
    assert.strictEqual(proof.htm, asked.method)
    assert.strictEqual(proof.htu, `${base}${path}`)
    assert.isFalse(seen.has(proof.jti))
    seen.add(proof.jti)
    return proof
  }
  const routes: Script["routes"] = {
    "/token": (asked, base) => {
      const proof = checked(asked, base, "/token")
      assert.isUndefined(proof.ath)
      if (nonce !== undefined && proof.nonce !== nonce) {
        return { status: 400, headers: turn(), body: { error: "use_dpop_nonce" } }
      }
      const refreshToken = asked.form.get("refresh_token")
      if (refreshToken !== null && keyOf.get(refreshToken) !== proof.jkt) {
        return { status: 400, body: { error: "invalid_grant", error_description: "not the key" } }
      }
      count += 1
      const [accessToken, next] = [`canary-at-${count}`, `canary-rt-${count}`]
      keyOf.set(accessToken, proof.jkt)
      keyOf.set(next, proof.jkt)
      return {
        body: {
          access_token: accessToken,
          refresh_token: next,
          token_type: options.type ?? "DPoP",
          expires_in: options.lifetime ?? 300
        }
      }
    },
    "/device": (_asked, base) => ({
      body: {
        device_code: "canary-dc",
        user_code: "AB-CD",
        verification_uri: `${base}/enter`,
        expires_in: 30,
        interval: 0.01
      }
    }),
    "/api": (asked, base) => {
      if (asked.headers["dpop"] === undefined) return { status: 401, headers: { "www-authenticate": "DPoP" } }
      const proof = checked(asked, base, "/api")
      const token = (asked.headers.authorization ?? "").replace(/^DPoP /, "")
      if (nonce !== undefined && proof.nonce !== nonce) {
        return {
          status: 401,
          headers: { ...turn(), "www-authenticate": "DPoP error=\"use_dpop_nonce\", error_description=\"nonce\"" }
        }
      }
      if (proof.ath !== digest(token) || keyOf.get(token) !== proof.jkt) {
        return { status: 401, headers: { "www-authenticate": "DPoP error=\"invalid_token\"" } }
      }
      return options.api?.(asked, proof) ?? { body: { ok: true } }
    }
  }
  return Effect.map(serve({ routes }), (server) => ({
    ...server,
    proofs,
    paths: () => server.asked.map(({ path }) => path).filter((path) => path === "/token" || path === "/api")
  }))
}

const program = (
  issuer: string,
  options: Partial<OidcOptions.OidcOptions> = {},
  keys: Layer.Layer<never> = Layer.empty,
  storage: Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock> = TokenStorage.layerMemory
) =>
  Layer.fresh(AuthManager.layer()).pipe(
    Layer.provideMerge(Layer.fresh(SessionKeeper.layer)),
    Layer.provideMerge(OidcIam.layer({ issuer, clientId: "cli", dpop: true, ...options })),
    Layer.provideMerge(storage),
    Layer.provide(FetchHttpClient.layer),
    Layer.provideMerge(FetchHttpClient.layer),
    Layer.provideMerge(keys)
  )

/** A session that an assertion made. */
const login = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  return yield* auth.login(OidcStrategy.jwtBearer({ assertion: Redacted.make("a.b.c") }))
})

const call = (base: string, options?: { readonly body?: string }) =>
  Effect.gen(function*() {
    const api = yield* AuthHttpClient.make({ baseUrl: base })
    const response = yield* options?.body === undefined ? api.get("/api?page=2") : api.post("/api")
    return response.status
  })

describe("a session that is bound to a key", () => {
  it.live("proves it at the token endpoint and at an API, and renews with the same key", () =>
    Effect.gen(function*() {
      const server = yield* bound()
      yield* Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        const session = yield* login
        assert.strictEqual(session.proofKey?._tag, "Enclosed")
        assert.strictEqual(Option.getOrThrow(Session.currentToken(session)).tokenType, "DPoP")
        assert.strictEqual(yield* call(server.issuer), 200)
        assert.strictEqual(yield* call(server.issuer, { body: "x" }), 200)
        yield* auth.refresh()
        assert.strictEqual(yield* call(server.issuer), 200)
      }).pipe(Effect.provide(program(server.issuer)))
      assert.strictEqual(new Set(server.proofs.map(({ jkt }) => jkt)).size, 1)
      assert.deepStrictEqual(server.paths(), ["/token", "/api", "/api", "/token", "/api"])
    }))

  it.live("has a key also where its login was begun by a program that made none", () =>
    Effect.gen(function*() {
      const server = yield* bound()
      const redirectUri = "http://127.0.0.1:4000/callback"
      const browser = (dpop: boolean) =>
        Effect.provide(
          BrowserLogin.BrowserLogin,
          Layer.fresh(OidcIam.layer({ issuer: server.issuer, clientId: "cli", scopes: ["notes"], dpop })).pipe(
            Layer.provide(FetchHttpClient.layer)
          )
        )
      const { pending } = yield* (yield* browser(false)).begin({ redirectUri })
      assert.isUndefined(pending.proofKey)
      const { proofKey } = yield* (yield* browser(true)).complete(
        pending,
        `${redirectUri}?code=c-1&state=${pending.state}`
      )
      assert.strictEqual(proofKey?._tag, "Enclosed")
    }))

  it.live("has a key of its own: another login has another one", () =>
    Effect.gen(function*() {
      const server = yield* bound()
      yield* Effect.provide(Effect.andThen(login, login), program(server.issuer))
      assert.strictEqual(new Set(server.proofs.map(({ jkt }) => jkt)).size, 2)
    }))

  it.live("may be called by its scheme in any case", () =>
    Effect.gen(function*() {
      const server = yield* bound({
        type: "dpop",
        api: (_asked, { nonce }) =>
          nonce === "n-1"
            ? undefined
            : { status: 401, headers: { "dpop-nonce": "n-1", "www-authenticate": "dPoP error=\"use_dpop_nonce\"" } }
      })
      const status = yield* Effect.provide(Effect.andThen(login, call(server.issuer)), program(server.issuer))
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(server.paths(), ["/token", "/api", "/api"])
    }))

  it.live("is renewed after an API has refused its token, and asked once more", () =>
    Effect.gen(function*() {
      let refused = 0
      const server = yield* bound({
        api: () =>
          refused++ === 0 ? { status: 401, headers: { "www-authenticate": "DPoP error=\"invalid_token\"" } } : undefined
      })
      const status = yield* Effect.provide(Effect.andThen(login, call(server.issuer)), program(server.issuer))
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(server.paths(), ["/token", "/api", "/token", "/api"])
    }))
})

describe("a nonce", () => {
  it.live("that a server wants is in the next proof, and stays until it is another", () =>
    Effect.gen(function*() {
      const server = yield* bound({ nonce: () => "n-1" })
      yield* Effect.gen(function*() {
        yield* login
        assert.strictEqual(yield* call(server.issuer), 200)
        assert.strictEqual(yield* call(server.issuer), 200)
      }).pipe(Effect.provide(program(server.issuer)))
      assert.deepStrictEqual(server.paths(), ["/token", "/token", "/api", "/api"])
      assert.deepStrictEqual(server.proofs.map(({ nonce }) => nonce), [undefined, "n-1", "n-1", "n-1"])
    }))

  it.live("that is another each time ends: at the token endpoint with an error, at an API with its answer", () =>
    Effect.gen(function*() {
      let count = 0
      let isLooping = false
      const server = yield* bound({ nonce: () => isLooping ? `n-${++count}` : "n-1" })
      yield* Effect.gen(function*() {
        yield* login
        isLooping = true
        // The nonce turns with each refusal.
        const before = server.asked.length
        yield* call(server.issuer)
        assert.isAtMost(server.asked.length - before, 4)
      }).pipe(Effect.provide(program(server.issuer)))
    }))

  it.live("that an API wants and does not tell renews nothing", () =>
    Effect.gen(function*() {
      const refusal = { status: 401, headers: { "www-authenticate": "DPoP error=\"use_dpop_nonce\"" } }
      const server = yield* bound({ api: () => refusal })
      assert.strictEqual(
        yield* Effect.provide(Effect.andThen(login, call(server.issuer)), program(server.issuer)),
        401
      )
      assert.deepStrictEqual(server.paths(), ["/token", "/api"])
    }))

  it.live("that no proof can match ends after one more try", () =>
    Effect.gen(function*() {
      const never = (path: string): Script["routes"] => ({
        [path]: path === "/token"
          ? { status: 400, headers: { "dpop-nonce": "n" }, body: { error: "use_dpop_nonce" } }
          : { status: 401, headers: { "dpop-nonce": "n", "www-authenticate": "DPoP error=\"use_dpop_nonce\"" } }
      })
      const server = yield* serve({ routes: never("/token") ?? {} })
      const error = yield* Effect.flip(Effect.provide(login, program(server.issuer)))
      assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, "Misconfigured")
      assert.strictEqual(server.asked.filter(({ path }) => path === "/token").length, 2)

      const api = yield* serve({
        routes: { ...never("/api"), "/token": { body: { access_token: "at-1", token_type: "DPoP", expires_in: 300 } } }
      })
      const status = yield* Effect.provide(Effect.andThen(login, call(api.issuer)), program(api.issuer))
      assert.strictEqual(status, 401)
      assert.strictEqual(api.asked.filter(({ path }) => path === "/api").length, 2)
    }))
})

describe("a clock that is another than ours", () => {
  /** A provider and an API whose clocks are ahead, and which say why they refuse a proof. */
  const judging = (ahead: number, api: number) => {
    const dated = (by: number) => ({ date: new Date(Date.now() + by * 1000).toUTCString() })
    const isOld = ({ headers }: Asked, by: number) => {
      const [, body = ""] = String(headers["dpop"]).split(".")
      return Math.abs(JSON.parse(Buffer.from(body, "base64url").toString()).iat - seconds() - by) > 60
    }
    return serve({
      routes: {
        "/token": (asked) => {
          if (isOld(asked, ahead)) return { status: 400, headers: dated(ahead), body: { error: "invalid_dpop_proof" } }
          proofOf(asked, ahead)
          return { headers: dated(ahead), body: { access_token: "at-1", token_type: "DPoP", expires_in: 300 } }
        },
        "/api": (asked) =>
          isOld(asked, api)
            ? {
              status: 401,
              headers: { ...dated(api), "www-authenticate": "DPoP error=\"invalid_dpop_proof\", algs=\"ES256\"" }
            }
            : { body: { ok: true } }
      }
    })
  }

  for (const [ahead, api] of [[3600, 3600], [-3600, -3600], [3600, 0]] as const) {
    it.live(`dates the proofs: the provider's by ${ahead} s, the API's by ${api} s`, () =>
      Effect.gen(function*() {
        const server = yield* judging(ahead, api)
        yield* Effect.gen(function*() {
          yield* login
          for (let calls = 0; calls < 3; calls++) assert.strictEqual(yield* call(server.issuer), 200)
        }).pipe(Effect.provide(program(server.issuer)))
        const count = (path: string) => server.asked.filter((asked) => asked.path === path).length
        assert.deepStrictEqual([count("/token"), count("/api")], [2, ahead === api ? 3 : 4])
      }))
  }

  it.live("is not what an API means that refuses each proof: its answer is handed on, and nothing is renewed for it", () =>
    Effect.gen(function*() {
      const refusal = { status: 401, headers: { "www-authenticate": "DPoP error=\"invalid_dpop_proof\"" } }
      const server = yield* bound({ api: () => refusal })
      yield* Effect.gen(function*() {
        yield* login
        assert.deepStrictEqual([yield* call(server.issuer), yield* call(server.issuer)], [401, 401])
      }).pipe(Effect.provide(program(server.issuer)))
      assert.deepStrictEqual(server.paths(), ["/token", "/api", "/api"])
    }))

  it.live("is not blamed for ever: a proof that is refused again is told of, and no client is", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        routes: {
          "/token": {
            status: 400,
            headers: { date: new Date(0).toUTCString() },
            body: { error: "invalid_dpop_proof", error_description: "no" }
          }
        }
      })
      const error = yield* Effect.flip(Effect.provide(login, program(server.issuer)))
      assert.include(error.message, "refuses the proof of the key")
      assert.include(error.message, "clock")
      assert(error._tag === "IamError" && error.reason._tag === "Misconfigured")
      assert.isUndefined(error.reason.refused)
      assert.strictEqual(server.asked.filter(({ path }) => path === "/token").length, 2)
    }))
})

it.live("a provider that does not bind the tokens is refused", () =>
  Effect.gen(function*() {
    const server = yield* bound({ type: "Bearer" })
    const error = yield* Effect.flip(Effect.provide(login, program(server.issuer)))
    assert.include(error.message, "not bound to the key")
    const plain = yield* Effect.flip(Effect.provide(
      login,
      program(
        (yield* serve({
          routes: { "/token": { body: { access_token: "at-1", token_type: "DPoP" } } }
        })).issuer,
        { dpop: false }
      )
    ))
    assert.include(plain.message, "DPoP")
    const other = yield* serve({ discovery: () => ({ dpop_signing_alg_values_supported: ["RS256"] }) })
    assert.include((yield* Effect.flip(Effect.provide(login, program(other.issuer)))).message, "ES256")
  }))

it.live("a token that is bound is not handed out alone", () =>
  Effect.gen(function*() {
    const server = yield* bound()
    yield* Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      yield* login
      for (const act of [Effect.asVoid(auth.bearer), Effect.asVoid(auth.accessToken), Effect.asVoid(auth.export)]) {
        const error = yield* Effect.flip(act)
        assert.include(error.message, "bound to a key")
      }
    }).pipe(Effect.provide(program(server.issuer)))
  }))

describe("a document that is stolen", () => {
  /** A keychain of this machine. */
  const keychain = () => {
    const held = new Map<string, Redacted.Redacted<Schema.JsonObject>>()
    const layer = Layer.succeed(ProofKeys.ProofKeys, {
      keep: (key, jwk) =>
        Effect.sync(() => {
          const name = `${key.account} ${held.size}`
          held.set(name, jwk)
          return Session.ProofKey.cases.Held.make({ keeper: "the keychain", name, thumbprint: name })
        }),
      open: ({ name }) =>
        Effect.fromOption(
          Option.fromUndefinedOr(held.get(name)),
          () => new ProofKeys.ProofKeyError({ detail: "it is not in the keychain: sign in again" })
        ),
      drop: (key) => Effect.sync(() => void held.delete(key.name))
    })
    return { held, layer }
  }

  it.live("is worth nothing at the token endpoint and at an API, with its key in the keychain", () =>
    Effect.gen(function*() {
      const server = yield* bound()
      const { layer } = keychain()
      const stolen = yield* Effect.provide(
        Effect.gen(function*() {
          yield* login
          const storage = yield* TokenStorage.TokenStorage
          const { key } = yield* AuthManager.AuthManager
          assert.strictEqual(yield* call(server.issuer), 200)
          return TokenStorage.encode(Option.getOrThrow(yield* storage.get(key)))
        }),
        program(server.issuer, {}, layer)
      )
      const document = JSON.parse(stolen)
      assert.strictEqual(document.version, 2)
      assert.notInclude(stolen, "\"d\"")
      const [{ accessToken }] = Object.values(document.session.tokens) as [{ accessToken: string }]

      // As it is: this machine has no such key, and nothing is sent.
      const before = server.asked.length
      const thief = Effect.gen(function*() {
        const storage = yield* TokenStorage.TokenStorage
        const session = yield* Effect.fromResult(TokenStorage.decode(stolen, "stolen.json"))
        yield* storage.put(session.key, session, 0)
        const error = yield* Effect.flip(call(server.issuer))
        assert.include(error.message, "does not have")
        const iam = yield* IamClient.IamClient
        const renewed = yield* Effect.flip(iam.renew(session, Selection.none))
        assert.strictEqual(renewed.reason._tag, "Misconfigured")
      })
      yield* Effect.provide(thief, program(server.issuer, {}, Layer.empty))
      assert.strictEqual(
        server.asked.slice(before).filter(({ path }) => path !== "/.well-known/openid-configuration").length,
        0
      )

      // With a key of their own, and without one.
      const own = yield* Effect.provide(login, program(server.issuer))
      const forged = Session.update(own, {
        tokens: Object.fromEntries(
          Object.entries(own.tokens).map((
            [id, tokens]
          ) => [
            id,
            Object.assign(Object.create(Object.getPrototypeOf(tokens)), tokens, {
              accessToken: Redacted.make(accessToken)
            })
          ])
        ),
        grant: Session.Grant.cases.None.make({})
      })
      yield* Effect.provide(
        Effect.gen(function*() {
          const storage = yield* TokenStorage.TokenStorage
          yield* storage.put(forged.key, Session.update(forged, { generation: 1 }), 0)
          assert.strictEqual(yield* call(server.issuer), 401)
        }),
        program(server.issuer)
      )
      const answer = yield* Effect.promise(() =>
        fetch(`${server.issuer}/api`, { headers: { authorization: `Bearer ${accessToken}` } })
      )
      assert.strictEqual(answer.status, 401)
    }))

  /** A storage and a keychain of which programs know, with DPoP and without. */
  const machine = Effect.fnUntraced(function*(
    storage: Layer.Layer<TokenStorage.TokenStorage | SessionLock.SessionLock> = TokenStorage.layerMemory
  ) {
    const server = yield* bound({ api: () => undefined })
    const plain = yield* serve({
      routes: { "/token": { body: { access_token: "at-plain", token_type: "Bearer", expires_in: 300 } } }
    })
    const { held, layer } = keychain()
    const shared = Layer.succeedContext(yield* Layer.build(storage))
    const on = (options: Partial<OidcOptions.OidcOptions>) => program(server.issuer, options, layer, shared)
    return {
      held,
      server,
      own: on({}),
      other: on({ dpop: false, metadata: { token_endpoint: `${plain.issuer}/token` } })
    }
  })

  it.live("leaves no key behind: a logout and another login drop it", () =>
    Effect.gen(function*() {
      const { held, other, own } = yield* machine()
      const end = (act: (auth: AuthManager.AuthManager["Service"]) => Effect.Effect<unknown, Error>) =>
        Effect.gen(function*() {
          yield* Effect.provide(Effect.andThen(login, login), own)
          assert.strictEqual(held.size, 1)
          yield* Effect.provide(Effect.flatMap(AuthManager.AuthManager, act), other)
          assert.strictEqual(held.size, 0)
        })
      yield* end((auth) => auth.logout)
      yield* end((auth) => auth.clearStoredToken)
      yield* end((auth) => auth.storeToken(Redacted.make("at-given")))
      yield* end((auth) => auth.import({ token: "at-given" }))
      yield* Effect.provide(login, own)
      yield* Effect.provide(login, other)
      assert.strictEqual(held.size, 0)
    }))

  it.live("keeps its key while a program has a session of its own beside it", () =>
    Effect.gen(function*() {
      const { held, other, own, server } = yield* machine()
      yield* Effect.provide(login, own)
      for (const layer of [own, other]) {
        yield* Effect.provide(
          Effect.gen(function*() {
            const auth = yield* AuthManager.AuthManager
            yield* auth.login(OidcStrategy.jwtBearer({ assertion: Redacted.make("a.b.c") }), { store: false })
            yield* auth.logout
          }),
          layer
        )
      }
      assert.strictEqual(held.size, 1)
      assert.strictEqual(yield* Effect.provide(call(server.issuer), own), 200)
    }))

  it.live("is not replaced by a login that comes to nothing, whose key goes with it", () =>
    Effect.gen(function*() {
      const damaged = Layer.effectContext(Effect.map(Layer.build(TokenStorage.layerMemory), (context) =>
        Context.add(context, TokenStorage.TokenStorage, {
          ...Context.get(context, TokenStorage.TokenStorage),
          get: () =>
            Effect.fail(
              new TokenStorageError.TokenStorageError({
                storage: "the test's",
                method: "get",
                reason: new TokenStorageError.StorageKeyMismatch({ place: "the test's", detail: "of another key" })
              })
            )
        })))
      const { held, own } = yield* machine(damaged)
      yield* Effect.provide(Effect.flip(login), own)
      assert.strictEqual(held.size, 0)
    }))
})

it.live("no proof, key or token is shown", () =>
  Effect.gen(function*() {
    const server = yield* bound({ nonce: () => "n-1" })
    const witness = Witness.make()
    yield* Effect.gen(function*() {
      const auth = yield* AuthManager.AuthManager
      const session = yield* login
      yield* call(server.issuer)
      yield* auth.refresh()
      yield* Effect.logInfo("session", session, String(session), JSON.stringify(session.proofKey))
      const { proofKey } = session
      const jwk = proofKey?._tag === "Enclosed" ? Redacted.value(proofKey.jwk) : {}
      const seen = witness.logs.join("\n") + witness.traced()
      assert.notInclude(seen, String(jwk["d"]))
      assert.notInclude(seen, "canary")
      for (const { headers } of server.asked) {
        if (typeof headers["dpop"] === "string") assert.notInclude(seen, headers["dpop"].slice(0, 30))
      }
    }).pipe(Effect.provide(program(server.issuer)), witness.watch)
  }))
