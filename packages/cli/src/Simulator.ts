/**
 * Where the IAM simulator is, which comes with a package of its own. It loads nothing, for the sake of `ReadyHelp`.
 */
import { createRequire } from "node:module"

/** The manifest of the package that has it, where that is installed. */
export const manifest = (): string | undefined => {
  try {
    return createRequire(import.meta.url).resolve("@effect-authn/testing/package.json")
  } catch {
    return undefined
  }
}
