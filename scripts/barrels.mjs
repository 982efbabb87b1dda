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
  // A lower-case folder is a family of modules; `internal/` is nobody's but its own.
  const folders = fs.readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "internal" && entry.name !== "bin").map(({ name }) => `${name}/`)
  const modules = ["", ...folders]
    .flatMap((folder) => fs.readdirSync(path.join(directory, folder)).map((name) => ({ folder, name })))
    .filter(({ name }) => /^[A-Z]\w*\.ts$/.test(name))
    .sort((a, b) => a.name < b.name ? -1 : 1)
  const body = modules.map(({ folder, name }) => {
    const since = /@since (\S+)/.exec(fs.readFileSync(path.join(directory, folder, name), "utf8"))?.[1]
    if (since === undefined) throw new Error(`${directory}/${folder}${name}: module JSDoc needs @since`)
    return `/**\n * @since ${since}\n */\nexport * as ${name.slice(0, -3)} from "./${folder}${name}"\n`
  })
  const next = `${source.slice(0, at)}${marker}\n\n${body.join("\n")}`
  if (next === source) continue
  stale++
  if (check) console.error(`stale barrel: ${file}`)
  else fs.writeFileSync(file, next)
}
process.exitCode = check && stale > 0 ? 1 : 0
