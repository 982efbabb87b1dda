// Writes the documents that are made from the sources: docs/errors.md and docs/api. `--check` fails instead of writing.
//
// Whatever is exported, and each member of a service, has a text of its own. What has none yet is listed in
// scripts/docs/undocumented.txt; the list only shrinks.
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

const list = "scripts/docs/undocumented.txt"
const allowed = new Set(read(list).split("\n"))
const undocumented = api.undocumented()
const added = undocumented.filter((name) => !allowed.has(name))
write(list, undocumented.filter((name) => allowed.has(name)).map((name) => `${name}\n`).join(""))

if (added.length > 0) console.error(`without a sentence of documentation:\n  ${added.join("\n  ")}`)
if (stale.length > 0) console.error(`stale, run "npm run lint-fix":\n  ${stale.join("\n  ")}`)
process.exitCode = added.length + stale.length > 0 ? 1 : 0
