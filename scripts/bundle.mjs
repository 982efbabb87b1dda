// Makes the command in packages/cli/dist: `authn.js`, and `commands.cjs` with the licences of what is in it (`LICENSES.txt`).
//
// V8 reads a file to its end before it runs the first line of it, and of 2 MB that takes longer than `authn token` may.
// So `authn.js` has only the short ways of `token`, `status` and `--help` (whose texts are in `help.json`), and loads the
// rest when it needs it, with what V8 compiled of it before (`CompileCache`).
//
// Another file than `authn.js` may be named, for tests.
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { builtinModules, createRequire } from "node:module"
import * as os from "node:os"
import * as path from "node:path"

const cli = path.join(import.meta.dirname, "../packages/cli")
const { build } = createRequire(path.join(cli, "package.json"))("esbuild")

// A module whose members are looked up when they are used: with the first of them the module is loaded. It is what
// `import defer` will say. esbuild's copy of a CommonJS module has the prototype of the original.
const deferred = (load) => `
let loaded
const load = () => (loaded ??= ${load})
module.exports = Object.create(new Proxy({}, { get: (_, member) => load()[member] }))`

// Most commands need few modules of Node.
const deferBuiltins = {
  name: "defer-builtins",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: new RegExp(`^(node:.+|${builtinModules.join("|")})$`) }, ({ kind, path: name }) =>
      // What is required may be a class or a function itself.
      kind === "import-statement" ? { path: name.replace(/^node:/, ""), namespace: "builtin" } : { path: name, external: true })
    onLoad({ filter: /.*/, namespace: "builtin" }, ({ path: name }) => ({
      contents: deferred(`process.getBuiltinModule("node:${name}")`),
      loader: "js"
    }))
  }
}

// And few of the libraries.
const deferModules = {
  name: "defer-modules",
  setup({ onLoad, onResolve, resolve }) {
    onResolve({ filter: later }, async ({ importer, kind, namespace, path: name, pluginData, resolveDir }) => {
      if (kind !== "import-statement" || namespace !== "file" || pluginData === "now" || !ours.test(importer)) return
      const { errors, path: file } = await resolve(name, { importer, kind, resolveDir, pluginData: "now" })
      return errors.length > 0 ? { errors } : { path: file, namespace: "deferred", sideEffects: false }
    })
    onLoad({ filter: /.*/, namespace: "deferred" }, ({ path: file }) => ({
      contents: deferred(`require(${JSON.stringify(file)})`),
      resolveDir: path.dirname(file),
      loader: "js"
    }))
  }
}
const ours = /\/packages\/(?!.*node_modules)/
const later = /^@effect-authn\/|^\.|^effect\/(http|sql|encoding|persistence|cli\/Prompt)|^@effect\/platform-node|^jose$/

// What a request needs of undici. Its index loads all that it has: `fetch`, WebSockets, mocks.
const partsOfUndici = {
  name: "parts-of-undici",
  setup({ onLoad }) {
    // What this repository and `@effect/platform-node` send by; of the other parts none is here.
    onLoad({ filter: /\/undici\/index\.js$/ }, () => ({
      contents: `
Object.assign(require("./lib/dispatcher/dispatcher").prototype, require("./lib/api"))
const part = (load) => ({ enumerable: true, get: load })
Object.defineProperties(exports, {
  Agent: part(() => require("./lib/dispatcher/agent")),
  DecoratorHandler: part(() => require("./lib/handler/decorator-handler")),
  Dispatcher: part(() => require("./lib/dispatcher/dispatcher")),
  FormData: part(() => require("./lib/web/fetch/formdata").FormData),
  Pool: part(() => require("./lib/dispatcher/pool")),
  ProxyAgent: part(() => require("./lib/dispatcher/proxy-agent")),
  Socks5ProxyAgent: part(() => require("./lib/dispatcher/socks5-proxy-agent")),
  errors: part(() => require("./lib/core/errors"))
})`
    }))
    // HTTP/2 is for connections that speak it.
    onLoad({ filter: /\/undici\/lib\/dispatcher\/client\.js$/ }, ({ path: file }) => {
      const text = fs.readFileSync(file, "utf8")
      const loading = "= require('./client-h2.js')"
      if (!text.includes(loading)) throw new Error(`${file} loads HTTP/2 in other words`)
      return { contents: text.replace(loading, "= (...given) => require('./client-h2.js')(...given)") }
    })
    // Node's own client is not used.
    onLoad({ filter: /\/platform-node\/dist\/internal\/http\.js$/ }, () => ({
      contents: `
export { default as http } from "node:http"
export { default as https } from "node:https"`
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
import { load } from ${JSON.stringify(path.join(cli, "src/CompileCache.ts"))}
const { argv: [, , ...argv], env, platform } = process
export const { main } = load(import.meta.dirname + "/commands.cjs", argv, env, platform)`,
      resolveDir: cli,
      loader: "js"
    }))
  }
}

// Effect makes one when it is loaded, which takes longer than all of `authn token`; in ASCII a character is a letter.
const lazySegmenter = `class LazySegmenter {
  constructor(...options) { this.options = options }
  segment(text) {
    if (/^[\\x20-\\x7e]*$/.test(text)) return Array.from(text, (segment) => ({ segment }))
    return (this.made ??= new (Intl["Segmenter"])(...this.options)).segment(text)
  }
}`

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
  define: { "Intl.Segmenter": "LazySegmenter" },
  external: ["@napi-rs/keyring"]
}
const head = await build({
  ...common,
  entryPoints: ["src/main.ts"],
  format: "esm",
  banner: { js: `#!/usr/bin/env node\n${lazySegmenter}` },
  plugins: [rest, deferBuiltins]
})
const asCommonJs = {
  ...common,
  format: "cjs",
  banner: {
    js: `const { pathToFileURL } = require("node:url"), bundleUrl = pathToFileURL(__filename).href,
bundleResolve = (name) => pathToFileURL(require.resolve(name)).href
${lazySegmenter}`
  },
  define: { ...common.define, "import.meta.url": "bundleUrl", "import.meta.resolve": "bundleResolve" },
  plugins: [deferBuiltins, deferModules, partsOfUndici]
}
const commands = await build({ ...asCommonJs, entryPoints: ["src/Process.ts"] })
const helpTexts = await build({ ...asCommonJs, entryPoints: ["src/HelpTexts.ts"] })

const packages = new Map()
for (const input of Object.keys(commands.metafile.inputs)) {
  const directory = /^[^:]*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
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
// V8 reads text with other letters than ASCII in twice the time. What is left of them is in regular expressions.
fs.writeFileSync(
  beside("commands.cjs"),
  commands.outputFiles[0].text.replace(
    /[^\0-\x7f]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
)
fs.writeFileSync(beside("LICENSES.txt"), `commands.cjs contains:\n\n${notices.join("\n\n---\n\n")}\n`)

// The help of every command: which there are depends on whether the package of the simulator can be found.
const helpMadeIn = (directory) => {
  const file = path.join(directory, "helpTexts.cjs")
  fs.mkdirSync(directory, { recursive: true })
  fs.writeFileSync(file, helpTexts.outputFiles[0].text)
  try {
    const print = `require(${JSON.stringify(file)}).all().then((texts) => console.log(JSON.stringify(texts)))`
    // pnpm's variable would have it found everywhere.
    const env = { ...process.env, NODE_PATH: "" }
    return JSON.parse(execFileSync(process.execPath, ["-e", print], { env, encoding: "utf8" }))
  } finally {
    fs.rmSync(file)
  }
}
const elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), "authn-help-"))
const alone = helpMadeIn(elsewhere)
fs.rmdirSync(elsewhere)
const withSimulator = helpMadeIn(path.join(cli, "dist"))
fs.writeFileSync(beside("help.json"), JSON.stringify({ alone, withSimulator }))

// Docker starts a helper by this name, and gives it no argument of the user's.
const docker = beside("docker-credential-authn.js")
fs.writeFileSync(
  docker,
  `#!/usr/bin/env node\nprocess.argv.splice(2, 0, "credential", "docker")\nawait import("./${path.basename(outfile)}")\n`
)
fs.chmodSync(docker, 0o755)
