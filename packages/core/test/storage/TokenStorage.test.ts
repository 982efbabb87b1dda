import { Selection, Session, SessionKey, TokenStorage } from "@effect-authn/core"
import { DueSessionsSuite, TokenStorageSuite } from "@effect-authn/testing"
import { assert, describe, it } from "@effect/vitest"
import { Option, Redacted, Result } from "effect"

TokenStorageSuite.suite("memory", TokenStorage.layerMemory)
DueSessionsSuite.suite("memory", TokenStorage.layerMemory)

const session = Session.Session.make({
  key: SessionKey.SessionKey.make({ issuer: "https://iam.example", clientId: "web", account: "default" }),
  generation: 7,
  durable: true,
  strategy: "password",
  user: Option.none(),
  grant: { _tag: "RefreshToken", refreshToken: Redacted.make("canary-51c7") },
  tokens: {},
  current: Selection.none,
  dead: Option.none(),
  intent: Option.none()
})
const text = TokenStorage.encode(session)
const edited = (change: (document: Record<string, unknown>) => unknown) => JSON.stringify(change(JSON.parse(text)))
const failureOf = (document: string) =>
  Result.match(TokenStorage.decode(document, "here.json"), { onSuccess: () => undefined, onFailure: (error) => error })

describe("the document of a session", () => {
  it("is JSON with the version, and reads back", () => {
    assert.strictEqual(JSON.parse(text).version, 1)
    assert.isUndefined(failureOf(text))
  })

  it("that is cut off anywhere is damaged, and nothing of it is shown", () => {
    for (let length = 0; length < text.length; length++) {
      const failure = failureOf(text.slice(0, length))
      assert.strictEqual(failure?._tag, "StorageCorrupt", `${length} characters`)
      assert.include(failure?.message, "here.json is not a session document")
      assert.include(failure?.message, "sign in again")
      assert.notInclude(`${failure}${JSON.stringify(failure)}`, "canary")
    }
  })

  const damaged: ReadonlyArray<readonly [string, string]> = [
    ["not JSON", "nonsense"],
    ["HTML", "<html></html>"],
    ["null", "null"],
    ["a number", "1"],
    ["a list", "[]"],
    ["an empty object", "{}"],
    ["two documents", text + text],
    ["a session without its version", edited((document) => document.session)],
    ["a version that is text", edited((document) => ({ ...document, version: "1" }))],
    ["a version below the first", edited((document) => ({ ...document, version: 0 }))],
    ["a version that is no whole number", edited((document) => ({ ...document, version: 1.5 }))],
    ["a version without a session", edited(() => ({ version: 1 }))],
    ["a session of the wrong shape", edited((document) => ({ ...document, session: { key: 1 } }))],
    ["a negative generation", text.replace("\"generation\":7", "\"generation\":-7")],
    ["a grant of no known kind", text.replace("RefreshToken", "Unheard")],
    ["the document of another program", "{\"access_token\":\"canary-51c7\"}"],
    ["zeros, as a power cut leaves them", "\u0000".repeat(text.length)]
  ]
  for (const [name, document] of damaged) {
    it(`that is ${name} is damaged`, () => {
      const failure = failureOf(document)
      assert.strictEqual(failure?._tag, "StorageCorrupt")
      assert.notInclude(`${failure}${JSON.stringify(failure)}`, "canary")
    })
  }

  for (
    const [name, document] of [
      ["of the next version", edited((given) => ({ ...given, version: 3 }))],
      ["of a much newer version, in a shape of its own", "{\"version\":99,\"vault\":[]}"]
    ] as const
  ) {
    it(`${name} is named with both versions`, () => {
      const failure = failureOf(document)
      assert.strictEqual(failure?._tag, "StorageNewerVersion")
      assert.match(
        failure?.message ?? "",
        /^here\.json holds a session of version (3|99), this program reads version 2/
      )
    })
  }

  it("may have members that this version does not know", () => {
    assert.isUndefined(failureOf(edited((document) => ({ ...document, comment: "kept by hand" }))))
  })
})
