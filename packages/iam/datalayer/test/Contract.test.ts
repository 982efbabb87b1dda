import { IamClient } from "@effect-authn/core"
import { DatalayerIam } from "@effect-authn/iam-datalayer"
import { IamClientSuite, IamSimulator } from "@effect-authn/testing"
import { Effect, Layer, Redacted } from "effect"
import { clients } from "./fixtures.ts"

const credentials = (handle: string, password: string) =>
  IamClient.Credentials.cases.Password.make({ handle, password: Redacted.make(password) })

const simulator = IamSimulator.IamSimulator

for (const [name, client] of clients) {
  IamClientSuite.suite(
    `datalayer, with ${name}`,
    Layer.unwrap(Effect.map(simulator, ({ issuer }) => DatalayerIam.layer({ issuer }))).pipe(
      Layer.provide(client),
      Layer.provideMerge(IamSimulator.layer())
    ),
    {
      credentials: credentials("ada", "correct-horse-battery"),
      handle: "ada",
      refused: [credentials("ada", "wrong-staple"), credentials("eve", "any-password")],
      whoami: "route",
      fail: (fault) =>
        simulator.use(({ setKnobs }) => setKnobs({ fail: [`login:${fault === "unavailable" ? 503 : fault}:1`] })),
      forget: Effect.flatMap(simulator, ({ revokeAll }) => revokeAll),
      requests: Effect.flatMap(simulator, ({ ledger }) => Effect.map(ledger, (entries) => entries.length))
    }
  )
}
