import { assert, describe, it } from "@effect/vitest"
import * as path from "node:path"
import { all, conforms } from "./conformance.ts"

const client = path.join(import.meta.dirname, "children/conformance.ts")

describe("the conformance suite of MCP", () => {
  it("has the 38 runs that this library is for", () => {
    assert.strictEqual(all.length, 38)
  })

  for (const run of all) {
    it(`${run.scenario}${run.version === undefined ? "" : ` of ${run.version}`}`, async () => {
      assert.strictEqual(await conforms(run, client), "passed")
    })
  }
})
