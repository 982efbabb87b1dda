// Installs what the lock file says, once: a stamp in node_modules tells whether it has been done. Runs on any Node 20.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.dirname(import.meta.dirname)
const stamp = path.join(root, "node_modules", ".effect-authn-setup")
const manifests = ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"].map((file) => path.join(root, file))
const wanted = manifests.reduce((hash, file) => hash.update(fs.readFileSync(file)), createHash("sha256"))
  .update(`${process.platform} ${process.arch}`)
  .digest("hex")

if (!fs.existsSync(stamp) || fs.readFileSync(stamp, "utf8") !== wanted) {
  const { status } = spawnSync("npx", ["--yes", "pnpm@12.21.0", "install", "--frozen-lockfile"], {
    cwd: root,
    // data of the command that asked goes to stdout, so what is said here goes to stderr
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32"
  })
  if (status !== 0) {
    console.error("The set-up failed; see above. It needs Node 20 or newer, npm, and the npm registry.")
    process.exit(status ?? 1)
  }
  // The Node of the lock file runs what follows; where there is none for this machine (or it does not start: musl), its own.
  const pinned = path.join(root, "node_modules", ".bin", process.platform === "win32" ? "node.cmd" : "node")
  if (spawnSync(pinned, ["--version"], { shell: process.platform === "win32" }).status !== 0) {
    fs.rmSync(pinned, { force: true })
    const [major, minor] = process.versions.node.split(".").map(Number)
    if (major < 22 || (major === 22 && minor < 18)) {
      console.error(`No pinned Node runs on this machine (${process.platform} ${process.arch}): install Node 22.18 or newer.`)
      process.exit(1)
    }
  }
  fs.writeFileSync(stamp, wanted)
}
