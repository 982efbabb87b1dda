import { TokenStorageError } from "@effect-authn/core"
import { assert, describe, it } from "@effect/vitest"

const { StorageConflict, StorageCorrupt, StorageKeyMismatch, StorageKeyUnavailable, StorageNewerVersion } =
  TokenStorageError

describe("isRetryable", () => {
  for (
    const [reason, expected] of [
      [new TokenStorageError.StorageUnavailable({ detail: "the disk is full" }), true],
      [new StorageConflict({ expected: 1, found: 2 }), true],
      [new StorageKeyUnavailable({ detail: "the keychain is locked" }), true],
      [new StorageCorrupt({ detail: "no JSON", quarantine: undefined }), false],
      [new StorageNewerVersion({ found: 9, supported: 1, place: "a.json" }), false],
      [new StorageKeyMismatch({ place: "a.json", detail: "is encrypted with another key" }), false]
    ] as const
  ) {
    it(`${reason._tag}: ${expected}, of the reason and of its error`, () => {
      const error = new TokenStorageError.TokenStorageError({ storage: "files", method: "get", reason })
      assert.deepStrictEqual([reason.isRetryable, error.isRetryable], [expected, expected])
    })
  }
})

describe("written", () => {
  for (
    const [reason, expected] of [
      [new TokenStorageError.StorageUnavailable({ detail: "the disk is full", written: "no" }), "no"],
      [new TokenStorageError.StorageUnavailable({ detail: "no answer", written: "maybe" }), "maybe"],
      [new TokenStorageError.StorageUnavailable({ detail: "of a storage that does not say" }), "maybe"],
      // a keychain that is locked or without an answer: a session is encrypted before anything is written
      [new StorageKeyUnavailable({ detail: "the keychain is locked" }), "no"],
      [new StorageConflict({ expected: 1, found: 2 }), "no"]
    ] as const
  ) {
    it(`${reason.message}: ${expected}`, () => {
      const error = new TokenStorageError.TokenStorageError({ storage: "files", method: "put", reason })
      assert.strictEqual(error.written, expected)
    })
  }
})
