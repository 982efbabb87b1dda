// Installs what the integration tests talk to, where that can be done: as root on a machine with apt-get. Elsewhere it says
// loudly which tests are left out, and fails if this is CI. `node scripts/services.mjs --check` installs nothing.
import { spawnSync } from "node:child_process"
import { realpathSync } from "node:fs"

const services = [
  { commands: ["gnome-keyring-daemon"], package: "gnome-keyring", tests: "the keychain" },
  { commands: ["dbus-daemon"], package: "dbus-daemon", tests: "the keychain" },
  { commands: ["dbus-send"], package: "dbus-bin", tests: "the keychain" },
  { commands: ["psql"], package: "postgresql", tests: "a real PostgreSQL" },
  { commands: ["redis-server", "redis-cli"], package: "redis-server", tests: "a real Redis" },
  { commands: ["git"], package: "git", tests: "git as a consumer of the command" },
  { commands: ["ip"], package: "iproute2", tests: "two machines as network namespaces" },
  { commands: ["openssl"], package: "openssl", tests: "two machines as network namespaces" },
  { commands: ["skopeo"], package: "skopeo", tests: "the command as docker's credential helper" },
  { commands: ["docker-registry"], package: "docker-registry", tests: "the command as docker's credential helper" },
  { commands: ["htpasswd"], package: "apache2-utils", tests: "the command as docker's credential helper" },
  { commands: ["python3"], package: "python3", tests: "the command at a terminal" },
  { commands: ["fish"], package: "fish", tests: "the completions of a shell" },
  { commands: ["chromium", "chromium-browser", "google-chrome"], package: "chromium", tests: "a real browser" }
]

const installer = "apt-get"

const has = (command) => spawnSync("which", [command], { stdio: "ignore" }).status === 0
const missing = () => services.filter(({ commands }) => !commands.some(has))

const install = (packages) => {
  const apt = (...args) =>
    // what the test run says goes to stdout, so what is said here goes to stderr
    spawnSync(installer, args, { stdio: ["ignore", 2, 2], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } })
  if (apt("update", "-qq").status === 0) apt("install", "-y", "-qq", "--no-install-recommends", ...packages)
}

/** Installs what is missing, if it may; whether the tests can go on. */
export const ensureServices = ({ check = false } = {}) => {
  if (process.platform !== "linux") {
    console.error("Tests against a real Secret Service are for Linux, and are left out here.")
    return true
  }
  const wanted = missing()
  if (wanted.length > 0 && !check && process.getuid() === 0 && has(installer)) {
    console.error(`Installing ${wanted.map((service) => service.package).join(", ")} for the integration tests.`)
    install(wanted.map((service) => service.package))
  }
  const lacking = missing()
  if (lacking.length === 0) return true
  const line = "!".repeat(100)
  console.error(`\n${line}`)
  for (const { package: name, tests } of lacking) console.error(`LEFT OUT: tests against ${tests}; ${name} is not here`)
  console.error(
    `Install them: apt-get install -y --no-install-recommends ${lacking.map((service) => service.package).join(" ")}`
  )
  console.error(`${line}\n`)
  return !process.env.CI
}

// `import.meta.main` is newer than the oldest Node that may run this
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === import.meta.filename) {
  process.exitCode = ensureServices({ check: process.argv.includes("--check") }) ? 0 : 1
}
