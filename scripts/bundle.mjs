// Makes packages/cli/dist/authn.js: the whole command in one file, with the licences of what is in it.
//
// V8 reads a file to its end before it runs the first line of it, and of 1.3 MB that takes longer than `authn token` may.
// So only the short way of that command is there as code; all the rest is packed into a comment at the end, which is
// skipped, and is unpacked by whoever needs it.
//
// Another file may be named, for tests; it is made faster, and is larger.
import * as fs from "node:fs"
import { builtinModules, createRequire } from "node:module"
import * as path from "node:path"
import { brotliCompressSync, constants } from "node:zlib"

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

const mark = "packed:"

// What `import("./Process.ts")` is in the bundle.
const unpacking = {
  name: "unpacking",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /\/Process\.ts$/ }, () => ({ path: "Process", namespace: "packed" }))
    onLoad({ filter: /.*/, namespace: "packed" }, () => ({
      contents: `
const { createRequire } = process.getBuiltinModule("node:module")
const { fileURLToPath } = process.getBuiltinModule("node:url")
const filename = fileURLToPath(import.meta.url)
const text = process.getBuiltinModule("node:fs").readFileSync(filename, "latin1")
const begin = text.lastIndexOf("/*" + ${JSON.stringify(mark)}) + ${mark.length + 2}
const packed = Buffer.from(text.slice(begin, text.indexOf("*/", begin)), "base64")
const code = process.getBuiltinModule("node:zlib").brotliDecompressSync(packed).toString()
const unpacked = { exports: {} }
process.getBuiltinModule("node:vm").compileFunction(code, ["module", "exports", "require", "bundleUrl", "resolve"], { filename })(
  unpacked, unpacked.exports, createRequire(import.meta.url), import.meta.url, (name) => import.meta.resolve(name)
)
export const { main } = unpacked.exports`,
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
  plugins: [unpacking]
})
const rest = await build({
  ...common,
  entryPoints: ["src/Process.ts"],
  format: "cjs",
  define: { "import.meta.url": "bundleUrl", "import.meta.resolve": "resolve" },
  plugins: [lazyBuiltins]
})

const packages = new Map()
for (const input of Object.keys(rest.metafile.inputs)) {
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
const quality = asked === undefined ? constants.BROTLI_MAX_QUALITY : constants.BROTLI_MIN_QUALITY
const packed = brotliCompressSync(rest.outputFiles[0].contents, {
  params: { [constants.BROTLI_PARAM_QUALITY]: quality }
}).toString("base64")
const outfile = path.resolve(asked ?? path.join(cli, "dist/authn.js"))
fs.mkdirSync(path.dirname(outfile), { recursive: true })
fs.writeFileSync(
  outfile,
  `${head.outputFiles[0].text}/*\nThis file contains:\n\n${notices.join("\n\n---\n\n").replaceAll("*/", "* /")}\n*/\n` +
    `/*${mark}${packed}*/\n`
)
fs.chmodSync(outfile, 0o755)

// Docker starts a helper by this name, and gives it no argument of the user's.
if (asked === undefined) {
  const docker = path.join(path.dirname(outfile), "docker-credential-authn.js")
  fs.writeFileSync(
    docker,
    `#!/usr/bin/env node\nprocess.argv.splice(2, 0, "credential", "docker")\nawait import("./authn.js")\n`
  )
  fs.chmodSync(docker, 0o755)
}
