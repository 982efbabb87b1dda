/** Makes the command as it is shipped, once for all test files, in a directory where no package can be found. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  interface ProvidedContext {
    readonly bundle: string
  }
}

export const setup = (project: TestProject): () => void => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "authn-bundle-"))
  const file = path.join(directory, "authn.mjs")
  execFileSync(process.execPath, [path.join(import.meta.dirname, "../../../scripts/bundle.mjs"), file])
  project.provide("bundle", file)
  return () => fs.rmSync(directory, { recursive: true, force: true })
}
