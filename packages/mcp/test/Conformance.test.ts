import { assert, describe, it } from "@effect/vitest"
import * as path from "node:path"
import { conforms, quick } from "./conformance.ts"

const client = path.join(import.meta.dirname, "children/conformance.ts")

describe("the conformance suite of MCP, six runs", () => {
  for (const run of quick) {
    it(`${run.scenario} of ${run.version}`, async () => {
      assert.strictEqual(await conforms(run, client), "passed")
    })
  }
})
