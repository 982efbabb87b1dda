import { AuthManager, type AuthStrategy } from "@effect-authn/core"
import { type OidcIam, type OidcOptions, OidcStrategy } from "@effect-authn/iam-oidc"
import { OidcProvider } from "@effect-authn/testing"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem, Redacted } from "effect"
import { age, expired, filed, grants, logins, type Needs, type Person, renewer, tokenOf } from "./fixtures.ts"

type Provider = OidcProvider.OidcProvider["Service"]

const ofPeople = ({ publicClient }: Provider) => ({
  options: { clientId: publicClient.id },
  environment: { AUTHN_CLIENT_ID: publicClient.id }
})

const ofPrograms = ({ resource, secretClient: { id, secret } }: Provider) => ({
  options: { clientId: id, clientAuthentication: { method: "client_secret_basic", secret } as const, resource },
  environment: { AUTHN_CLIENT_ID: id, AUTHN_CLIENT_SECRET: Redacted.value(secret), AUTHN_RESOURCE: resource }
})

const sessions: ReadonlyArray<{
  readonly name: string
  readonly strategy: AuthStrategy.AuthStrategy<Needs | OidcIam.OidcIam>
  readonly acts: Effect.Effect<unknown, Error, Person>
  readonly of: (provider: Provider) => {
    readonly options: Partial<OidcOptions.OidcOptions>
    readonly environment: { readonly [name: string]: string }
  }
  readonly renewal: string
  readonly farewell: string
}> = [
  ...Object.entries(logins).map(([name, { acts, strategy }]) => ({
    name,
    strategy,
    acts,
    of: ofPeople,
    renewal: "refresh_token",
    farewell: "Revoked"
  })),
  {
    name: "client credentials",
    strategy: OidcStrategy.clientCredentials(),
    acts: Effect.void,
    of: ofPrograms,
    renewal: "client_credentials",
    // The provider's access tokens for an API are JWTs, which it cannot take back.
    farewell: "NotRevoked"
  }
]

for (const { acts, farewell, name, of, renewal, strategy } of sessions) {
  it.live(
    `a session of ${name} outlives its program: the next one renews, the one after signs out for all`,
    () =>
      Effect.gen(function*() {
        const directory = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
        const provider = yield* OidcProvider.OidcProvider
        const { environment, options } = of(provider)
        const program = filed(directory, () => options)
        const start = Effect.gen(function*() {
          const started = yield* renewer(directory, { environment: { ...environment, AUTHN_ISSUER: provider.issuer } })
          assert.strictEqual(yield* started.ready, "ready")
          return started
        })
        yield* provider.proxy.setKnobs({ interval: 1 })
        yield* Effect.gen(function*() {
          const auth = yield* AuthManager.AuthManager
          yield* Effect.forkChild(acts)
          yield* auth.login(strategy)
        }).pipe(Effect.provide(program))
        // By a program that has not opened the session, or it would renew at once what it sees to be due.
        const signedIn = yield* Effect.provide(age(expired), program)
        yield* provider.proxy.forget

        const renewed = yield* Effect.scoped(Effect.flatMap(start, ({ tell }) => tell("token")))
        assert.isAbove(renewed.length, 30)
        assert.notStrictEqual(renewed, tokenOf(signedIn))
        assert.deepStrictEqual(yield* grants, [renewal])

        const third = yield* start
        assert.strictEqual(yield* third.tell("token"), renewed)
        assert.strictEqual(yield* third.tell("logout"), farewell)
        assert.strictEqual(yield* third.tell("token"), "NotAuthenticated")
        const after = yield* Effect.flip(Effect.flatMap(AuthManager.AuthManager, (auth) => auth.token)).pipe(
          Effect.provide(program)
        )
        assert.strictEqual(after._tag, "NotAuthenticated")
        assert.deepStrictEqual(yield* grants, [renewal])
        assert.deepStrictEqual(yield* provider.errors, [])
      }).pipe(Effect.scoped, Effect.provide([OidcProvider.layer(), NodeFileSystem.layer]))
  )
}
