// A program whose session lies in files. It does what each line of its standard input says, and prints what came of it.
// AUTHN_ISSUER and its like name the provider; `unlocked` takes the lock out.
import * as AuthManager from "@effect-authn/core/AuthManager"
import * as SessionLock from "@effect-authn/core/storage/SessionLock"
import * as OidcIam from "@effect-authn/iam-oidc/OidcIam"
import * as FileTokenStorage from "@effect-authn/platform-node/FileTokenStorage"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { createInterface } from "node:readline"

const [directory = "", lock = "locked"] = process.argv.slice(2)

const files = FileTokenStorage.layer({ directory })
const noLock = Layer.succeed(SessionLock.SessionLock, { withLock: () => (effect) => effect })

await Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const token = Effect.map(auth.token, ({ accessToken }) => Redacted.value(accessToken))
  const logout = Effect.map(auth.logout, ({ _tag }) => _tag)
  console.log("ready")
  yield* Stream.fromAsyncIterable(createInterface(process.stdin), (cause) => cause).pipe(
    Stream.mapEffect((order) => Effect.catch(order === "logout" ? logout : token, ({ _tag }) => Effect.succeed(_tag))),
    Stream.runForEach((said) => Effect.sync(() => console.log(said)))
  )
}).pipe(
  Effect.provide(
    NodeAuth.layer(OidcIam.layerConfig(), { storage: lock === "unlocked" ? Layer.merge(files, noLock) : files })
  ),
  Effect.runPromise
)
