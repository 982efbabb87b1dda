// Rewrites the export list under `// @barrel` in every index.ts. `--check` fails instead of writing.
import * as fs from "node:fs"
import * as path from "node:path"

const marker = "// @barrel: Auto-generated exports. Do not edit manually."
const check = process.argv.includes("--check")
let stale = 0

for (const file of fs.globSync("packages/**/src/**/index.ts", { exclude: (f) => f.includes("node_modules") })) {
  const source = fs.readFileSync(file, "utf8")
  const at = source.indexOf(marker)
  if (at === -1) continue
  const directory = path.dirname(file)
  const modules = fs.readdirSync(directory).filter((f) => /^[A-Z]\w*\.ts$/.test(f)).sort()
  const body = modules.map((f) => {
    const since = /@since (\S+)/.exec(fs.readFileSync(path.join(directory, f), "utf8"))?.[1]
    if (since === undefined) throw new Error(`${directory}/${f}: module JSDoc needs @since`)
    return `/**\n * @since ${since}\n */\nexport * as ${f.slice(0, -3)} from "./${f}"\n`
  })
  const next = `${source.slice(0, at)}${marker}\n\n${body.join("\n")}`
  if (next === source) continue
  stale++
  if (check) console.error(`stale barrel: ${file}`)
  else fs.writeFileSync(file, next)
}
process.exitCode = check && stale > 0 ? 1 : 0
