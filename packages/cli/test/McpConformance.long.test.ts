import { assert, describe, it } from "@effect/vitest"
import * as path from "node:path"
import { inject } from "vitest"
import { all, conforms } from "../../mcp/test/conformance.ts"

const client = path.join(import.meta.dirname, "children/bridged.ts")
process.env["AUTHN_MAIN"] = inject("bundle")

// Those that end in a call of a tool, and not in a refusal or with a client that signs in for itself.
const ending =
  /^auth\/(metadata-(default|var)|basic-cimd|scope-(from|omitted|step-up)|token-endpoint-auth|pre-registration|offline-access|authorization-server-migration|iss-(supported|not-advertised)$|2025-03-26)/

describe("the conformance suite of MCP, through authn mcp stdio", () => {
  for (const run of all.filter(({ scenario }) => ending.test(scenario))) {
    it(`${run.scenario} of ${run.version}`, async () => {
      assert.strictEqual(await conforms(run, client), "passed")
    })
  }
})
