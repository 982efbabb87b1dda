// Removes everything that a build or a test run makes.
import * as fs from "node:fs"

for (const glob of ["dist", "coverage", "packages/*/dist", "packages/*/*/dist"]) {
  for (const directory of fs.globSync(glob)) fs.rmSync(directory, { recursive: true, force: true })
}
