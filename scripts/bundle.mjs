// Makes the command in packages/cli/dist: `authn.js`, and `commands.cjs` with the licences of what is in it.
//
// V8 reads a file to its end before it runs the first line of it, and of 1.5 MB that takes longer than `authn token` may.
// So `authn.js` has only the short way of that command, and loads the rest when it needs it, through Node's compile cache.
//
// Another file than `authn.js` may be named, for tests.
import * as fs from "node:fs"
import { builtinModules, createRequire } from "node:module"
import * as path from "node:path"

const cli = path.join(import.meta.dirname, "../packages/cli")
const { build } = createRequire(path.join(cli, "package.json"))("esbuild")

// As CommonJS a module of Node is loaded by whoever first needs it; imported, it would be loaded by every command.
const lazyBuiltins = {
  name: "lazy-builtins",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: new RegExp(`^(node:.+|${builtinModules.join("|")})$`) }, ({ path: name }) => ({
      path: name.replace(/^node:/, ""),
      namespace: "builtin"
    }))
    onLoad({ filter: /.*/, namespace: "builtin" }, ({ path: name }) => ({
      contents: `module.exports = process.getBuiltinModule("node:${name}")`,
      loader: "js"
    }))
  }
}

// What `import("./Process.ts")` is in the bundle.
const rest = {
  name: "rest",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /\/Process\.ts$/ }, () => ({ path: "Process", namespace: "rest" }))
    onLoad({ filter: /.*/, namespace: "rest" }, () => ({
      contents: `
const { createRequire } = process.getBuiltinModule("node:module")
export const { main } = createRequire(import.meta.url)("./commands.cjs")`,
      loader: "js"
    }))
  }
}

const common = {
  absWorkingDir: cli,
  bundle: true,
  minify: true,
  write: false,
  metafile: true,
  platform: "node",
  target: "node22.19",
  legalComments: "none",
  logLevel: "warning",
  external: ["@napi-rs/keyring"]
}
const head = await build({
  ...common,
  entryPoints: ["src/main.ts"],
  format: "esm",
  banner: { js: "#!/usr/bin/env node" },
  plugins: [rest]
})
const commands = await build({
  ...common,
  entryPoints: ["src/Process.ts"],
  format: "cjs",
  banner: {
    js: `const { pathToFileURL } = require("node:url"), bundleUrl = pathToFileURL(__filename).href,
bundleResolve = (name) => pathToFileURL(require.resolve(name)).href`
  },
  define: { "import.meta.url": "bundleUrl", "import.meta.resolve": "bundleResolve" },
  plugins: [lazyBuiltins]
})

const packages = new Map()
for (const input of Object.keys(commands.metafile.inputs)) {
  const directory = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
  if (directory !== undefined) packages.set(directory.replace(/^.*node_modules\//, ""), path.resolve(cli, directory))
}
const notices = [...packages].sort(([a], [b]) => a.localeCompare(b)).map(([name, directory]) => {
  const { license, version } = JSON.parse(fs.readFileSync(path.join(directory, "package.json"), "utf8"))
  const file = fs.readdirSync(directory).find((file) => /^licen[cs]e/i.test(file))
  const text = file === undefined ? "" : `\n\n${fs.readFileSync(path.join(directory, file), "utf8").trim()}`
  return `${name} ${version} (${license})${text}`
})

const [, , asked] = process.argv
const outfile = path.resolve(asked ?? path.join(cli, "dist/authn.js"))
const beside = (name) => path.join(path.dirname(outfile), name)
fs.mkdirSync(path.dirname(outfile), { recursive: true })
fs.writeFileSync(outfile, head.outputFiles[0].text)
fs.chmodSync(outfile, 0o755)
fs.writeFileSync(
  beside("commands.cjs"),
  `${commands.outputFiles[0].text}/*\nThis file contains:\n\n${notices.join("\n\n---\n\n").replaceAll("*/", "* /")}\n*/\n`
)

// Docker starts a helper by this name, and gives it no argument of the user's.
const docker = beside("docker-credential-authn.js")
fs.writeFileSync(
  docker,
  `#!/usr/bin/env node\nprocess.argv.splice(2, 0, "credential", "docker")\nawait import("./${path.basename(outfile)}")\n`
)
fs.chmodSync(docker, 0o755)
