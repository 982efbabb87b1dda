// Writes the documents that are made from the sources: docs/errors.md and docs/api. `--check` fails instead of writing.
//
// Whatever is exported, and each member of a service, has a text of its own; what has none is an error.
import * as fs from "node:fs"
import * as path from "node:path"
import * as api from "./docs/api.mjs"
import * as errors from "./docs/errors.mjs"

const root = path.dirname(import.meta.dirname)
const check = process.argv.includes("--check")
const read = (file) => fs.existsSync(path.join(root, file)) ? fs.readFileSync(path.join(root, file), "utf8") : ""
const stale = []
const write = (file, text) => {
  if (read(file) === text) return
  if (check) stale.push(file)
  else fs.writeFileSync(path.join(root, file), text)
}

for (const [file, text] of Object.entries({ ...api.pages(), ...errors.pages() })) write(file, text)

const undocumented = api.undocumented()
if (undocumented.length > 0) console.error(`without a sentence of documentation:\n  ${undocumented.join("\n  ")}`)
if (stale.length > 0) console.error(`stale, run "npm run lint-fix":\n  ${stale.join("\n  ")}`)
process.exitCode = undocumented.length + stale.length > 0 ? 1 : 0
