// Two machines, as two network namespaces of this one: the program of one goes on where the other dies.
import { IamSimulator } from "@effect-authn/testing"
import * as PostgresServer from "@effect-authn/testing/PostgresServer"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { execFileSync, spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

const isPossible = process.platform === "linux" && process.getuid?.() === 0 && PostgresServer.isThere &&
  ["ip", "openssl"].every((program) => spawnSync("which", [program]).status === 0) &&
  spawnSync("ip", ["netns", "add", "authn-probe"]).status === 0 &&
  spawnSync("ip", ["netns", "del", "authn-probe"]).status === 0
if (!isPossible) console.error("LEFT OUT: two network namespaces; they need root on Linux, with iproute2 and openssl")

const ip = (...args: ReadonlyArray<string>) => execFileSync("ip", args, { stdio: "pipe" })
const tag = `ea${process.pid % 10_000}`
const host = "10.251.77.1"

/** A bridge with an address of this machine's, and two namespaces that reach nothing but that. */
const network = Effect.acquireRelease(
  Effect.sync(() => {
    ip("link", "add", `${tag}br`, "type", "bridge")
    ip("addr", "add", `${host}/24`, "dev", `${tag}br`)
    ip("link", "set", `${tag}br`, "up")
    return [1, 2].map((number) => {
      const name = `${tag}m${number}`
      ip("netns", "add", name)
      ip("link", "add", `${tag}v${number}`, "type", "veth", "peer", "name", "eth0", "netns", name)
      ip("link", "set", `${tag}v${number}`, "master", `${tag}br`, "up")
      ip("-n", name, "addr", "add", `10.251.77.${number + 1}/24`, "dev", "eth0")
      ip("-n", name, "link", "set", "eth0", "up")
      ip("-n", name, "link", "set", "lo", "up")
      return { name, unplug: Effect.sync(() => ip("link", "set", `${tag}v${number}`, "down")) }
    })
  }),
  () =>
    Effect.sync(() => {
      for (const number of [1, 2]) spawnSync("ip", ["netns", "del", `${tag}m${number}`])
      spawnSync("ip", ["link", "del", `${tag}br`])
    })
)

/** A certificate of the bridge's address, and the authority that machines are told to trust. */
const certificate = (directory: string) => {
  const file = (name: string) => Path.join(directory, name)
  const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { stdio: "pipe" })
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
  openssl("req", "-x509", ...key, "-keyout", file("ca.key"), "-out", file("ca.pem"), "-subj", "/CN=test", "-days", "1")
  openssl("req", ...key, "-keyout", file("key.pem"), "-out", file("csr.pem"), "-subj", `/CN=${host}`)
  Fs.writeFileSync(file("san"), `subjectAltName=IP:${host}`)
  const authority = ["-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial"]
  openssl(
    "x509",
    "-req",
    "-in",
    file("csr.pem"),
    ...authority,
    "-out",
    file("cert.pem"),
    "-days",
    "1",
    "-extfile",
    file("san")
  )
  return { authority: file("ca.pem"), key: Fs.readFileSync(file("key.pem")), cert: Fs.readFileSync(file("cert.pem")) }
}

const listening = (server: Net.Server) =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, host, () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () => Effect.sync(() => server.close())
  )

/** The IAM over https, at the bridge's address. */
const secured = (issuer: string, options: Https.ServerOptions) =>
  listening(Https.createServer(options, (request, response) => {
    const onward = Http.request(
      new URL(request.url ?? "/", issuer),
      { method: request.method, headers: { ...request.headers, connection: "close" } },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      }
    )
    onward.on("error", () => response.destroy())
    request.pipe(onward)
  }))

/** A port of this machine, at the bridge's address. */
const relayed = (port: number) =>
  listening(Net.createServer((socket) => {
    const onward = Net.connect(port, "127.0.0.1")
    for (const end of [socket, onward]) {
      end.on("error", () => {
        socket.destroy()
        onward.destroy()
      })
    }
    socket.pipe(onward)
    onward.pipe(socket)
  }))

const start = (namespace: string, authority: string, orders: object) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(
          "ip",
          [
            "netns",
            "exec",
            namespace,
            process.execPath,
            Path.join(import.meta.dirname, "children/machine.ts"),
            JSON.stringify(orders)
          ],
          { env: { ...process.env, NODE_EXTRA_CA_CERTS: authority }, stdio: ["ignore", "pipe", "pipe"] }
        )
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => {
      const lines: Array<string> = []
      let errors = ""
      child.stdout.on("data", (chunk) => lines.push(...String(chunk).trim().split("\n")))
      child.stderr.on("data", (chunk) => errors += String(chunk))
      /** Waits until its lines are as they have to be. Dies with its stderr when it has ended. */
      const until = (holds: () => boolean) =>
        Effect.sync(() => {
          if (child.exitCode !== null) throw new Error(`the machine ended with ${child.exitCode}: ${errors}`)
          return holds()
        }).pipe(
          Effect.delay("50 millis"),
          Effect.repeat({ until: (yes) => yes })
        )
      return { lines, until, kill: Effect.sync(() => child.kill("SIGKILL")) }
    }
  )

describe.runIf(isPossible)("two machines with one session", () => {
  it.live("one dies in the middle of its work, and the other goes on, without a login", () =>
    Effect.gen(function*() {
      const simulator = yield* IamSimulator.IamSimulator
      const postgres = yield* PostgresServer.PostgresServer
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-authn-machines-"))),
        (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
      )
      const [one, two] = yield* network
      const { authority, ...files } = certificate(directory)
      const iam = yield* secured(simulator.issuer, files)
      const port = yield* relayed(Number(new URL(postgres.url()).port))
      const url = new URL(postgres.url())
      url.host = `${host}:${port}`
      const setup = { issuer: `https://${host}:${iam}`, url: url.href }

      const first = yield* start(one!.name, authority, { ...setup, signsIn: true })
      yield* first.until(() => first.lines.length > 0)
      const second = yield* start(two!.name, authority, { ...setup, signsIn: false })
      yield* second.until(() => second.lines.length > 0)
      assert.include(first.lines, second.lines[0])

      yield* one!.unplug
      yield* first.kill
      const before = new Set([...first.lines, ...second.lines])
      // two renewals later: the lease of a machine that died in one has ended by then
      yield* second.until(() => second.lines.filter((line) => !before.has(line)).length > 0)
      const seen = new Set(second.lines)
      yield* second.until(() => second.lines.some((line) => !seen.has(line)))
      assert.deepStrictEqual(second.lines.filter((line) => line.split(".").length !== 3), [])
      const ledger = yield* simulator.ledger
      assert.strictEqual(ledger.filter(({ route }) => route === "login").length, 1)
      assert.deepStrictEqual(ledger.filter(({ note }) => note === "reuse"), [])
    }).pipe(
      Effect.provide(Layer.fresh(Layer.mergeAll(
        IamSimulator.layer({ tokenLifetime: "3 seconds", rotation: "strict" }),
        PostgresServer.layer()
      ))),
      Effect.scoped
    ))
})
