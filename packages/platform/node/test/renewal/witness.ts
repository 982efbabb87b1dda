/** Knows what of a program's logs and traces nobody may see. */
import { Witness } from "@effect-authn/testing"
import { assert } from "@effect/vitest"

/** How the secrets of these tests begin: the simulator's refresh tokens, any JWT, the password, and the canaries. */
const secrets = /cmVmcmVzaCB0b2tlbi|eyJ[\w-]{12}|correct-horse|canary/

export const hasSecret = (text: string): boolean => secrets.test(text)

export const assertNoSecret = (text: string, where: string): void => {
  const found = secrets.exec(text)
  assert.isNull(
    found,
    found === null ? "" : `${where}: …${text.slice(Math.max(0, found.index - 200), found.index)}[here]`
  )
}

/** A witness that tells of secrets. */
export const make = () => {
  const witness = Witness.make()
  return {
    ...witness,
    assertNoSecret: () => {
      assertNoSecret(witness.logs.join("\n"), "in the log")
      assertNoSecret(witness.traced(), "in a span")
    }
  }
}
