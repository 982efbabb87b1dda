import { ProtectedResource } from "@effect-authn/mcp"
import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"

const read = (header: string) => Option.getOrUndefined(ProtectedResource.challenge(header))

describe("a challenge", () => {
  it("is read among others, with quotes and escapes", () => {
    const found = read(
      `Negotiate abc==, Digest realm="a, Bearer scope=no", qop=auth, bearer realm="x \\"y\\"", SCOPE="a b",` +
        ` error=insufficient_scope`
    )
    assert.deepStrictEqual(found?.scopes, ["a", "b"])
    assert.deepStrictEqual(found?.error, Option.some("insufficient_scope"))
  })

  it("that names metadata counts before one that does not", () => {
    const found = read(`Bearer scope="a", Bearer resource_metadata="https://x/y", scope="b"`)
    assert.deepStrictEqual(found?.scopes, ["b"])
  })

  it("is none where there is none", () => {
    for (const header of ["", "Basic realm=\"x\"", ",,,", "=", "\"", "Bear er=", "Basic x=\"Bearer y\""]) {
      assert.isUndefined(read(header), header)
    }
    assert.deepStrictEqual(read("Bearer")?.scopes, [])
    assert.deepStrictEqual(read("Bearer scope=\"unterminated")?.scopes, [])
  })
})
