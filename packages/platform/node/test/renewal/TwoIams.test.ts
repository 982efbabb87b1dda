import { AuthManager } from "@effect-authn/core"
import { GenomcoreIam } from "@effect-authn/iam-genomcore"
import { FileTokenStorage, NodeAuth } from "@effect-authn/platform-node"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { refreshes, simulated } from "./processes.ts"
import { ada, type Setup } from "./program.ts"

layer(NodeFileSystem.layer, { excludeTestServices: true })("two IAMs in one program", (it) => {
  it.effect("each session is renewed at its own: no refresh token goes to the other", () =>
    simulated({}, (outerIam, outer) =>
      simulated({}, (innerIam, inner) => {
        const auth = ({ directory, issuer }: Setup) =>
          NodeAuth.layer(GenomcoreIam.layer({ host: issuer }), { storage: FileTokenStorage.layer({ directory }) })
        const signInAndRenew = Effect.gen(function*() {
          const { login, refresh } = yield* AuthManager.AuthManager
          yield* login(ada, { selection: { organization: "acme" } })
          yield* Effect.result(refresh())
        })
        return Effect.gen(function*() {
          yield* signInAndRenew
          // A layer is built once for a program and all that is nested in it.
          yield* signInAndRenew.pipe(Effect.provide(auth(inner)))
          const statuses = yield* Effect.forEach([outerIam, innerIam], refreshes)
          assert.deepStrictEqual(statuses.map((ledger) => ledger.map(({ status }) => status)), [[201], [201]])
        }).pipe(Effect.provide(auth(outer)))
      })))
})
