import { Selection } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"

const id = (input: Selection.Input) => Selection.id(Selection.make(input))

describe("Selection", () => {
  it("of nothing is the issuer's default, whose name is empty", () => {
    assert.strictEqual(Selection.id(Selection.none), "")
    assert.strictEqual(id({ organization: "", project: "", resource: "", scope: " " }), "")
  })

  it("has one name for equal selections, in whatever order they were written", () => {
    assert.strictEqual(
      id({ scope: "write  read\tadmin", project: "p", organization: "o" }),
      id({ organization: "o", project: "p", scope: "admin read write" })
    )
    assert.strictEqual(id({ organization: "o", scope: "b a" }), "organization=o&scope=a%20b")
  })

  it("has another name for every other selection, also where the parts look like names", () => {
    const selections: ReadonlyArray<Selection.Input> = [
      {},
      { organization: "a" },
      { project: "a" },
      { resource: "a" },
      { scope: "a" },
      { organization: "a", project: "b" },
      { organization: "a&project=b" },
      { organization: "a%26project=b" },
      { project: "a b" },
      { project: "a+b" },
      { project: "a%20b" },
      { project: "A" }
    ]
    assert.strictEqual(new Set(selections.map(id)).size, selections.length)
  })

  it.prop("has equal names exactly for equal members", [Selection.Selection, Selection.Selection], ([one, two]) => {
    const encode = (self: Selection.Selection) => JSON.stringify(Schema.encodeSync(Selection.Selection)(self))
    assert.strictEqual(Selection.id(one) === Selection.id(two), encode(one) === encode(two))
  })

  it("refined keeps the organization, and takes everything else from what was asked", () => {
    const current = Selection.make({ organization: "acme", project: "apollo", scope: "read", resource: "r" })
    const refined = (asked: Selection.Input) => Selection.id(Selection.refine(current, asked))
    assert.strictEqual(refined({ project: "borealis" }), "organization=acme&project=borealis")
    assert.strictEqual(refined({}), "organization=acme")
    assert.strictEqual(refined({ organization: "other", project: "p" }), "organization=other&project=p")
    assert.strictEqual(refined({ organization: "" }), "")
    assert.strictEqual(Selection.id(Selection.refine(Selection.none, { scope: "b a" })), "scope=a%20b")
  })
})
