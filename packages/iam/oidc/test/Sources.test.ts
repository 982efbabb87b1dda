/** Sessions of programs: by assertions, exchanges and platforms, at a provider that answers as the RFCs have it. */
import {
  AuthManager,
  AuthStrategy,
  IamClient,
  Selection,
  Session,
  SessionKeeper,
  TokenSet,
  TokenStorage,
  WorkloadIdentity
} from "@effect-authn/core"
import { OidcIam, type OidcOptions, OidcStrategy, TokenSource } from "@effect-authn/iam-oidc"
import { Witness } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Effect, Layer, Option, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { type Asked, type Reply, seconds, serve, sessionOf, sign } from "./rawProvider.ts"

const jwtType = "urn:ietf:params:oauth:token-type:jwt"
const accessType = "urn:ietf:params:oauth:token-type:access_token"
const idJag = "urn:ietf:params:oauth:token-type:id-jag"

const program = (issuer: string, options: Partial<OidcOptions.OidcOptions> = {}, storage = TokenStorage.layerMemory) =>
  Layer.fresh(AuthManager.layer()).pipe(
    Layer.provideMerge(Layer.fresh(SessionKeeper.layer)),
    Layer.provideMerge(OidcIam.layer({ issuer, clientId: "cli", ...options })),
    Layer.provideMerge(storage),
    Layer.provide(FetchHttpClient.layer)
  )

const granting = (answer: (asked: Asked, issuer: string) => Reply) =>
  Effect.map(
    serve({ routes: { "/token": answer } }),
    (server) => ({ ...server, tokens: () => server.asked.filter(({ path }) => path === "/token") })
  )

const token = (fields: object = {}): Reply => ({ body: { access_token: "at-1", token_type: "Bearer", ...fields } })

const login = <R>(strategy: AuthStrategy.AuthStrategy<R>) =>
  Effect.flatMap(AuthManager.AuthManager, (auth) => auth.login(strategy))

const failure = <A, E extends { readonly _tag: string; readonly message: string }, R>(act: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(act), (error) => {
    assert.notInclude(error.message, "canary")
    return error
  })

describe("an assertion as the grant", () => {
  it.live("is read for each token, and its session renews by it, also when it has expired", () =>
    Effect.gen(function*() {
      let count = 0
      const server = yield* granting(() =>
        token({ access_token: `at-${count}`, expires_in: count === 1 ? 0.001 : 300 })
      )
      const assertion = Effect.sync(() => Redacted.make(`canary-assertion-${++count}`))
      const session = yield* Effect.gen(function*() {
        const session = yield* login(OidcStrategy.jwtBearer({ assertion }))
        yield* Effect.sleep("5 millis")
        const auth = yield* AuthManager.AuthManager
        assert.strictEqual(Redacted.value(yield* auth.accessToken), "at-2")
        return session
      }).pipe(Effect.provide(program(server.issuer)))
      assert.deepStrictEqual(session.grant, { _tag: "Reissue", source: "jwt-bearer" })
      assert.deepStrictEqual(
        server.tokens().map(({ form }) => [form.get("grant_type"), form.get("assertion"), form.get("scope")]),
        ["canary-assertion-1", "canary-assertion-2"].map((assertion) => [
          "urn:ietf:params:oauth:grant-type:jwt-bearer",
          assertion,
          null
        ])
      )
    }))

  it.live("outlives no assertion: the access token ends with it", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token({ expires_in: 3600 }))
      const exp = seconds() + 60
      const session = yield* Effect.provide(
        login(OidcStrategy.jwtBearer({ assertion: Redacted.make(sign({ sub: "job", exp })) })),
        program(server.issuer)
      )
      const { expiresAt } = Option.getOrThrow(Session.currentToken(session))
      assert.strictEqual(DateTime.toEpochSeconds(Option.getOrThrow(expiresAt)), exp)
    }))

  it.live("that has expired, or is empty, is not sent", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token())
      for (
        const [assertion, says] of [
          [sign({ exp: 1 }), "expired at 1970"],
          ["", "is empty"],
          [" \n", "is empty"],
          ["canary one\ncanary two", "a character that no token has"],
          ["canary\0", "a character that no token has"]
        ] as const
      ) {
        const error = yield* failure(
          Effect.provide(login(OidcStrategy.jwtBearer({ assertion: Redacted.make(assertion) })), program(server.issuer))
        )
        assert.strictEqual(error._tag, "InvalidCredentials")
        assert.include(error.message, says)
      }
      assert.deepStrictEqual(server.tokens(), [])
    }))

  it.live("that the provider refuses is no dead grant: the next one may do", () =>
    Effect.gen(function*() {
      let isTrusted = true
      const server = yield* granting(({ form }) =>
        isTrusted
          ? token()
          : { status: 400, body: { error: "invalid_grant", error_description: `no: ${form.get("assertion")}` } }
      )
      yield* Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        yield* login(OidcStrategy.jwtBearer({ assertion: Redacted.make("canary-assertion") }))
        isTrusted = false
        const error = yield* failure(auth.refresh())
        assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, "CredentialsRefused")
        isTrusted = true
        yield* auth.refresh()
      }).pipe(Effect.provide(program(server.issuer)))
    }))

  it.live("gives no refresh token to a session, and an id_token that is not for us is refused", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token({ refresh_token: "rt-1" }))
      const session = yield* Effect.provide(
        login(OidcStrategy.jwtBearer({ assertion: Redacted.make("a.b.c") })),
        program(server.issuer)
      )
      assert.strictEqual(session.grant._tag, "Reissue")
    }))
})

describe("an exchange", () => {
  const subject = (issuer: string, sub = "ada") => Redacted.make(sign({ iss: issuer, sub, exp: seconds() + 60 }))

  for (const [actorType, named] of [[undefined, accessType], ["jwt", jwtType]] as const) {
    it.live(`says what it gives, for whom it acts (${actorType ?? "unless told, by an access token"}), and what it wants`, () =>
      Effect.gen(function*() {
        const server = yield* granting(() => token({ issued_token_type: accessType, expires_in: 3600 }))
        const given = subject(server.issuer)
        const session = yield* Effect.provide(
          login(OidcStrategy.tokenExchange({
            subject: Effect.succeed(given),
            subjectType: "jwt",
            actor: Redacted.make("canary-actor"),
            actorType,
            requestedType: "access_token",
            audience: "https://api.test",
            resource: "https://api.test/v1",
            scope: "read"
          })),
          program(server.issuer)
        )
        const [asked] = server.tokens()
        assert.deepStrictEqual(Object.fromEntries(asked?.form ?? []), {
          grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
          client_id: "cli",
          subject_token: Redacted.value(given),
          subject_token_type: jwtType,
          actor_token: "canary-actor",
          actor_token_type: named,
          requested_token_type: accessType,
          audience: "https://api.test",
          resource: "https://api.test/v1",
          scope: "read"
        })
        const { expiresAt } = Option.getOrThrow(Session.currentToken(session))
        assert.isAtMost(DateTime.toEpochSeconds(Option.getOrThrow(expiresAt)), seconds() + 60)
      }))
  }

  const rows: Record<string, (issuer: string) => object> = {
    "of another subject": (issuer) => ({ access_token: sign({ iss: issuer, sub: "bob" }) }),
    "of another subject, which does not name its issuer": () => ({ access_token: sign({ sub: "bob" }) }),
    "of another subject, whose issuer is spelled with a slash": (issuer) => ({
      access_token: sign({ iss: `${issuer}/`, sub: "bob" })
    }),
    "of another subject, which is a number": (issuer) => ({ access_token: sign({ iss: issuer, sub: 7 }) }),
    "of a type that says the token back": () => ({ access_token: "canary-x", issued_token_type: "a:canary-x" }),
    "that is no access token": () => ({ issued_token_type: idJag, token_type: "N_A" }),
    "of no type of ours": () => ({ token_type: "N_A" }),
    "of another type than it says": () => ({ issued_token_type: "urn:ietf:params:oauth:token-type:refresh_token" })
  }
  for (const [name, fields] of Object.entries(rows)) {
    it.live(`with a token ${name} is refused`, () =>
      Effect.gen(function*() {
        const server = yield* granting((_asked, issuer) => token(fields(issuer)))
        const error = yield* failure(
          Effect.provide(login(OidcStrategy.tokenExchange({ subject: subject(server.issuer) })), program(server.issuer))
        )
        assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, "Malformed")
      }))
  }

  it.live("with a token of another issuer's subject is taken, unless one is expected", () =>
    Effect.gen(function*() {
      const server = yield* granting((_asked, iss) => token({ access_token: sign({ iss, sub: "service-account" }) }))
      const given = { subject: subject("https://ci.test", "repo:acme/app") }
      const act = (options: Parameters<typeof OidcStrategy.tokenExchange>[0]) =>
        Effect.provide(login(OidcStrategy.tokenExchange(options)), program(server.issuer))
      yield* act(given)
      yield* act({ ...given, expectedSubject: "service-account" })
      const error = yield* failure(act({ ...given, expectedSubject: "root" }))
      assert.include(error.message, "another subject than the one that is expected")
    }))

  it.live("is made of the token alone, without the line break of its file", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token())
      const strategy = OidcStrategy.tokenExchange({ subject: Effect.succeed(Redacted.make("canary-subject\r\n")) })
      yield* Effect.provide(login(strategy), program(server.issuer))
      assert.strictEqual(server.tokens()[0]?.form.get("subject_token"), "canary-subject")
    }))

  it.live("with a token that names no subject is refused where one is expected", () =>
    Effect.gen(function*() {
      const server = yield* granting((_asked, iss) => token({ access_token: sign({ iss }) }))
      const error = yield* failure(Effect.provide(
        login(OidcStrategy.tokenExchange({ subject: subject("https://ci.test"), expectedSubject: "ada" })),
        program(server.issuer)
      ))
      assert.include(error.message, "it names no subject")
    }))

  it.live("that renews a session stays of its subject", () =>
    Effect.gen(function*() {
      let sub: string | number = "service-account"
      let slash = ""
      const server = yield* granting((_asked, iss) => token({ access_token: sign({ iss: `${iss}${slash}`, sub }) }))
      yield* Effect.gen(function*() {
        const auth = yield* AuthManager.AuthManager
        yield* login(OidcStrategy.tokenExchange({ subject: subject("https://ci.test", "repo:acme/app") }))
        for (const [other, spelled] of [["root", ""], ["root", "/"], [0, ""]] as const) {
          sub = other
          slash = spelled
          const error = yield* failure(auth.refresh())
          assert.include(error.message, "another subject than the session")
        }
      }).pipe(Effect.provide(program(server.issuer)))
    }))

  it.live("of any type becomes no session", () =>
    Effect.gen(function*() {
      const answers: Array<object> = [
        { access_token: "canary-jag", issued_token_type: idJag, token_type: "N_A", expires_in: 300 },
        { access_token: "canary-jag", issued_token_type: accessType, token_type: "Bearer" },
        // Who knows no types gives what it always gives.
        { access_token: "canary-jag", issued_token_type: undefined, token_type: "Bearer" }
      ]
      const server = yield* granting(() => token(answers.shift()))
      yield* Effect.gen(function*() {
        const oidc = yield* OidcIam.OidcIam
        const asked = { subject: subject(server.issuer), requestedType: "id-jag" } as const
        const exchanged = yield* oidc.exchange(asked)
        assert.strictEqual(exchanged.tokenType, "N_A")
        assert.strictEqual(exchanged.issuedType, idJag)
        assert.strictEqual(Redacted.value(exchanged.token), "canary-jag")
        const end = Option.getOrThrow(exchanged.expiresAt)
        assert.isAtMost(DateTime.toEpochSeconds(end), seconds() + 60)
        for (let others = 0; others < 2; others++) {
          const error = yield* failure(oidc.exchange(asked))
          assert.strictEqual(error.reason._tag, "Malformed")
        }
      }).pipe(Effect.provide(program(server.issuer)))
    }))
})

it.live("an identity assertion is made in two steps, at the person's provider and at the API's server", () =>
  Effect.gen(function*() {
    const idToken = (iss: string, exp = seconds() + 300) => sign({ iss, sub: "ada", aud: "cli", iat: seconds(), exp })
    const home = yield* granting(({ form }, issuer) =>
      form.get("grant_type") === "refresh_token"
        ? token({ id_token: idToken(issuer), expires_in: 300 })
        : token({ access_token: "canary-jag", issued_token_type: idJag, token_type: "N_A", expires_in: 300 })
    )
    const there = yield* granting(() => token({ expires_in: 300 }))
    const act = Effect.fnUntraced(function*(idToken: string) {
      const services = yield* Layer.build(Layer.fresh(program(home.issuer, {}, Layer.fresh(TokenStorage.layerMemory))))
      const held = yield* sessionOf(home.issuer)
      const tokens = Object.fromEntries(
        Object.entries(held.tokens).map(([id, tokens]) => [
          id,
          TokenSet.TokenSet.make({ ...tokens, idToken: Option.some(Redacted.make(idToken)) })
        ])
      )
      yield* Context.get(services, TokenStorage.TokenStorage).put(held.key, Session.update(held, { tokens }), 0)
      const session = Context.get(services, AuthManager.AuthManager)
      const provider = Context.get(services, OidcIam.OidcIam)
      const assertion = TokenSource.identityAssertion({
        session,
        provider,
        audience: there.issuer,
        resource: "https://api.test",
        scope: "read"
      })
      return yield* Effect.provide(login(OidcStrategy.jwtBearer({ name: "id-jag", assertion })), program(there.issuer))
    }, Effect.scoped)

    const session = yield* act(idToken(home.issuer))
    assert.deepStrictEqual(session.grant, { _tag: "Reissue", source: "id-jag" })
    assert.deepStrictEqual(
      home.tokens().map(({ form }) => [
        form.get("subject_token_type"),
        form.get("requested_token_type"),
        form.get("audience"),
        form.get("resource"),
        form.get("scope")
      ]),
      [["urn:ietf:params:oauth:token-type:id_token", idJag, there.issuer, "https://api.test", "read"]]
    )
    assert.deepStrictEqual(there.tokens().map(({ form }) => form.get("assertion")), ["canary-jag"])

    // An id_token that has expired is renewed first.
    yield* act(idToken(home.issuer, seconds() - 5))
    assert.deepStrictEqual(
      home.tokens().slice(1).map(({ form }) => form.get("grant_type")?.split(":").at(-1)),
      ["refresh_token", "token-exchange"]
    )
  }))

describe("a workload", () => {
  const platform = (answer: (audience: string) => Effect.Effect<string, WorkloadIdentity.WorkloadError>) =>
    Layer.succeed(WorkloadIdentity.WorkloadIdentity, {
      description: "the platform",
      token: (audience) =>
        Effect.map(answer(audience), (token) => ({ source: "the platform", token: Redacted.make(token) }))
    })
  const fails = (reason: WorkloadIdentity.WorkloadError["reason"]) =>
    platform(() => Effect.fail(new WorkloadIdentity.WorkloadError({ source: "the platform", reason })))
  const workload = OidcStrategy.workload({ audience: "https://idp.test" })

  it.live("signs in with the token that told that there is a platform, and renews with the next", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const server = yield* granting(() => token({ expires_in: 300 }))
      const session = yield* Effect.gen(function*() {
        const session = yield* login(workload)
        yield* Effect.flatMap(AuthManager.AuthManager, (auth) => auth.refresh())
        return session
      }).pipe(
        Effect.provide([
          program(server.issuer),
          platform((audience) =>
            Effect.sync(() => {
              asked.push(audience)
              return `canary-${asked.length}`
            })
          )
        ])
      )
      assert.strictEqual(session.strategy, "workload: the platform")
      assert.deepStrictEqual(asked, ["https://idp.test", "https://idp.test"])
      assert.deepStrictEqual(server.tokens().map(({ form }) => form.get("assertion")), ["canary-1", "canary-2"])
    }))

  it.live("may be exchanged", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token({ expires_in: 300 }))
      yield* Effect.provide(
        login(OidcStrategy.workload({ audience: "a", grant: "token-exchange" })),
        [program(server.issuer), platform(() => Effect.succeed("canary"))]
      )
      assert.deepStrictEqual(server.tokens().map(({ form }) => form.get("subject_token_type")), [jwtType])
    }))

  it.live("that is not there lets the next one try; one that is broken, or away, ends the login", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token({ expires_in: 300 }))
      const act = (layer: Layer.Layer<WorkloadIdentity.WorkloadIdentity>) =>
        Effect.provide(
          login(AuthStrategy.firstOf(workload, OidcStrategy.clientCredentials())),
          [program(server.issuer), layer]
        )
      const session = yield* act(fails(new WorkloadIdentity.WorkloadAbsent({ detail: "nowhere" })))
      assert.strictEqual(session.strategy, "client credentials")
      for (
        const [reason, tag] of [
          [new WorkloadIdentity.WorkloadBroken({ detail: "empty" }), "Misconfigured"],
          [new WorkloadIdentity.WorkloadUnavailable({ detail: "status 503" }), "Unavailable"]
        ] as const
      ) {
        const error = yield* failure(act(fails(reason)))
        assert.strictEqual(error._tag === "IamError" ? error.reason._tag : error._tag, tag)
      }
    }))

  it.live("whose session another process takes up is asked for there by its name; without it, the process says what is missing", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token({ expires_in: 0.001 }))
      const session = yield* Effect.provide(
        login(workload),
        [program(server.issuer), platform(() => Effect.succeed("canary"))]
      )
      assert.strictEqual(JSON.parse(TokenStorage.encode(session)).version, 2)

      const iam = (options: Partial<OidcOptions.OidcOptions>) =>
        Effect.flatMap(IamClient.IamClient, (iam) => iam.renew(session, Selection.none)).pipe(
          Effect.provide(
            Layer.provide(OidcIam.layer({ issuer: server.issuer, clientId: "cli", ...options }), FetchHttpClient.layer)
          )
        )
      const error = yield* failure(iam({}))
      assert.strictEqual(error.reason._tag, "Misconfigured")
      assert.include(error.message, "the source \"workload\"")
      assert.include(error.message, "workload: the platform")
      const sources = [TokenSource.jwtBearer({ name: "workload", assertion: Redacted.make("canary-2") })]
      yield* iam({ sources })
      assert.strictEqual(server.tokens().at(-1)?.form.get("assertion"), "canary-2")
    }))

  it.live("shows no token in a life of sessions, whatever is answered", () =>
    Effect.gen(function*() {
      const workloadToken = sign({ sub: "canary-job", aud: "a", exp: seconds() + 60 })
      const echo = ({ form }: Asked): string => [...form.values()].join(" ")
      const answers: ReadonlyArray<(asked: Asked) => Reply> = [
        () => token({ expires_in: 300 }),
        (asked) => ({ status: 400, body: { error: "invalid_grant", error_description: echo(asked) } }),
        (asked) => ({ status: 401, body: { error: "invalid_client", error_description: echo(asked) } }),
        (asked) => ({ body: { access_token: "canary-at", token_type: echo(asked) } }),
        (asked) => ({ body: { access_token: "canary-at", token_type: "Bearer", issued_token_type: echo(asked) } }),
        (asked) => ({ status: 302, headers: { location: `https://x.test/${encodeURIComponent(echo(asked))}` } }),
        (asked) => ({ status: 503, body: { error: echo(asked) } })
      ]
      const witness = Witness.make()
      for (const answer of answers) {
        const server = yield* granting(answer)
        for (const grant of ["jwt-bearer", "token-exchange"] as const) {
          yield* Effect.gen(function*() {
            const oidc = yield* OidcIam.OidcIam
            yield* Effect.exit(login(OidcStrategy.workload({ audience: "a", grant })))
            yield* Effect.exit(oidc.exchange({ subject: Redacted.make(workloadToken), requestedType: "id-jag" }))
          }).pipe(
            Effect.tapCause((cause) => Effect.logError("failed", cause)),
            Effect.provide([program(server.issuer), platform(() => Effect.succeed(workloadToken))]),
            witness.watch
          )
        }
      }
      const seen = witness.logs.join("\n") + witness.traced()
      for (const part of ["canary", ...workloadToken.split(".")]) assert.notInclude(seen, part.slice(0, 30))
    }))
})

it.live("a scope of the selection is asked for", () =>
  Effect.gen(function*() {
    const server = yield* granting(() => token({ expires_in: 300 }))
    const session = yield* Effect.flatMap(AuthManager.AuthManager, (auth) =>
      auth.login(OidcStrategy.jwtBearer({ assertion: Redacted.make("a.b.c") }), {
        selection: { scope: "write", resource: "https://api.test" }
      })).pipe(Effect.provide(program(server.issuer)))
    const [asked] = server.tokens()
    assert.strictEqual(asked?.form.get("scope"), "write")
    assert.strictEqual(asked?.form.get("resource"), "https://api.test")
    assert.strictEqual(session.current.scope, "write")
  }))

describe("login() without a strategy", () => {
  const asks: Array<string> = []
  const platform = (answer: () => Effect.Effect<string, WorkloadIdentity.WorkloadError>) =>
    Layer.succeed(WorkloadIdentity.WorkloadIdentity, {
      description: "the platform",
      token: (audience) =>
        Effect.map(
          Effect.andThen(Effect.sync(() => asks.push(audience)), answer()),
          (token) => ({ source: "the platform", token: Redacted.make(token) })
        )
    })
  const auth = AuthManager.AuthManager
  const failed = (reason: WorkloadIdentity.WorkloadError["reason"]) =>
    Effect.fail(new WorkloadIdentity.WorkloadError({ source: "the platform", reason }))

  it.live("signs in as the program, where an audience is configured, and asks that first the next time", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token({ expires_in: 300 }))
      const layer = (options: Partial<OidcOptions.OidcOptions>) =>
        Layer.provideMerge(program(server.issuer, options), platform(() => Effect.succeed("canary")))
      const before = asks.length
      const error = yield* Effect.flip(Effect.provide(Effect.flatMap(auth, (auth) => auth.login()), layer({})))
      assert.strictEqual(error._tag, "NoCredentials")
      // No audience, no question.
      assert.strictEqual(asks.length, before)

      yield* Effect.gen(function*() {
        const session = yield* Effect.flatMap(auth, (auth) => auth.login())
        assert.strictEqual(session.strategy, "workload: the platform")
        const again = yield* Effect.flatMap(auth, (auth) => auth.login())
        assert.strictEqual(again.strategy, "workload: the platform")
      }).pipe(Effect.provide(layer({ workload: { audience: "https://idp.test" } })))
      assert.strictEqual(asks.at(-1), "https://idp.test")
    }))

  it.live("says of each way why it has nothing, in no time, and never passes over one that is there and broken", () =>
    Effect.gen(function*() {
      const server = yield* granting(() => token({ expires_in: 300 }))
      const options = { workload: { audience: "a" } }
      const act = (reason: WorkloadIdentity.WorkloadError["reason"]) =>
        Effect.flip(Effect.provide(
          Effect.flatMap(auth, (auth) => auth.login(AuthStrategy.chain({ people: OidcStrategy.clientCredentials() }))),
          Layer.provideMerge(program(server.issuer, options), platform(() => failed(reason)))
        ))
      const broken = yield* act(new WorkloadIdentity.WorkloadBroken({ detail: "empty" }))
      assert.strictEqual(broken._tag, "IamError")
      assert.deepStrictEqual(server.tokens(), [])

      const none = yield* Effect.flip(Effect.provide(
        Effect.flatMap(auth, (auth) => auth.login()),
        Layer.provideMerge(
          program(server.issuer, options),
          platform(() => failed(new WorkloadIdentity.WorkloadAbsent({ detail: "nowhere" })))
        )
      ))
      assert.deepStrictEqual(
        none._tag === "NoCredentials" ? none.tried.map(({ strategy }) => strategy) : none._tag,
        ["environment", "stored", "workload"]
      )
    }))
})
