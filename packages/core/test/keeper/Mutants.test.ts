import { assert, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { mutants } from "./mutants.ts"

const source = (file: string) => fs.readFileSync(path.join(import.meta.dirname, "../../src", file), "utf8")
const findings = fs.readFileSync(path.join(import.meta.dirname, "Findings.test.ts"), "utf8")

// With a mutant in place the text is still in the file: only what Vitest loads is changed.
for (const { falls, file, name, text } of mutants) {
  it(`"${name}" still says where it changes the source, and which test falls`, () => {
    assert.strictEqual(source(file).split(text).length - 1, 1, `in ${file}: ${text}`)
    assert.include(findings, `describe("${falls}`)
  })
}

it("each mutant has a name of its own", () => {
  assert.strictEqual(new Set(mutants.map(({ name }) => name)).size, mutants.length)
})
