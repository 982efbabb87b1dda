import { IamClient, Selection } from "@effect-authn/core"
import { GenomcoreIam } from "@effect-authn/iam-genomcore"
import { IamClientSuite, IamSimulator } from "@effect-authn/testing"
import { Effect, Layer, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"

const credentials = (handle: string, password: string) =>
  IamClient.Credentials.cases.Password.make({ handle, password: Redacted.make(password) })

const simulator = IamSimulator.IamSimulator

for (const bareRefresh of ["keep", "reset"] as const) {
  IamClientSuite.suite(
    `genomcore, at an IAM that will ${bareRefresh} the project`,
    Layer.unwrap(Effect.map(simulator, ({ issuer }) => GenomcoreIam.layer({ host: issuer }))).pipe(
      Layer.provide(FetchHttpClient.layer),
      Layer.provideMerge(IamSimulator.layer({ rotation: "strict", bareRefresh }))
    ),
    {
      credentials: credentials("ada", "correct-horse-battery"),
      handle: "ada",
      refused: [credentials("ada", "wrong-staple"), credentials("eve", "any-password")],
      selection: Selection.make({ organization: "acme", project: "borealis" }),
      whoami: "claims",
      fail: (fault) => {
        const what = fault === "unavailable" ? 503 : fault
        return simulator.use(({ setKnobs }) => setKnobs({ fail: [`login:${what}:1`, `refresh:${what}:1`] }))
      },
      forget: Effect.flatMap(simulator, ({ revokeAll }) => revokeAll),
      requests: Effect.flatMap(simulator, ({ ledger }) => Effect.map(ledger, (entries) => entries.length))
    }
  )
}
