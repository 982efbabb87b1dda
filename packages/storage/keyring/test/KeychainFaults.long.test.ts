import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { childrenOf, isRunning, start, temporary } from "./children.ts"
import { isThere, type SecretService, startSecretService } from "./secretService.ts"

// how long the helper may take to start on a machine that is busy
const slack = 30_000

const secret = Buffer.alloc(32, 5).toString("base64")

interface Said {
  readonly error?: string
  readonly value?: { readonly place: string; readonly passedOver: ReadonlyArray<{ readonly reason: string }> } & number
  readonly millis: number
}

const service = Effect.acquireRelease(
  Effect.promise(startSecretService),
  (service: SecretService) => Effect.promise(service.stop)
)

/** A socket on which everybody is heard and nobody answered. */
const mute = Effect.acquireRelease(
  Effect.flatMap(
    temporary,
    (directory) =>
      Effect.callback<{ readonly address: string; readonly server: Net.Server }>((resume) => {
        const path = Path.join(directory, "bus")
        const server = Net.createServer((socket) => socket.on("error", () => {}))
        server.listen(path, () => resume(Effect.succeed({ address: `unix:path=${path}`, server })))
      })
  ),
  ({ server }) => Effect.sync(() => server.close())
).pipe(Effect.map(({ address }) => address))

const program = (directory: string, address: string | undefined, orders: ReadonlyArray<string>, env = {}) =>
  start(
    "program",
    { DBUS_SESSION_BUS_ADDRESS: address, DISPLAY: undefined, AUTHN_KEY: secret, ...env },
    directory,
    ...orders
  ).pipe(Effect.map((child) => ({
    ...child,
    said: Effect.map(child.line, (line): Said => JSON.parse(line))
  })))

const gone = Effect.fnUntraced(function*(processes: ReadonlyArray<number>) {
  while (processes.some(isRunning)) yield* Effect.sleep("20 millis")
})

/** The place that `auto` takes when the keychain fails it, why, and after how long. */
const passedOver = Effect.fnUntraced(function*(address: string | undefined, env = {}) {
  const directory = yield* temporary
  const child = yield* program(directory, address, ["choose", "put", "get"], env)
  const { millis, value } = yield* child.said
  assert.strictEqual(value?.place, "encrypted-file")
  assert.strictEqual((yield* child.said).value, 1)
  assert.strictEqual((yield* child.said).value, 1)
  return { millis, reason: value!.passedOver[0]!.reason }
})

describe.runIf(isThere)("a keychain that fails", () => {
  it.live("no D-Bus session: the next place is taken, and the reason told", () =>
    Effect.gen(function*() {
      const { millis, reason } = yield* passedOver(undefined)
      assert.include(reason, "DBUS_SESSION_BUS_ADDRESS")
      assert.isBelow(millis, slack)
    }))

  it.live("a bus that nobody listens on", () =>
    Effect.gen(function*() {
      const { reason } = yield* passedOver("unix:path=/nonexistent/bus")
      assert.include(reason, "Failed to connect to socket")
    }))

  it.live("a bus that never answers: after 3 seconds", () =>
    Effect.gen(function*() {
      const { millis, reason } = yield* passedOver(yield* mute)
      assert.include(reason, "the keychain did not answer within 3s")
      assert.isAbove(millis, 2900)
      assert.isBelow(millis, 3000 + slack)
    }))

  it.live("a daemon that never answers: within 3 seconds", () =>
    Effect.gen(function*() {
      const { address, daemonPid } = yield* service
      process.kill(daemonPid, "SIGSTOP")
      const { millis, reason } = yield* passedOver(address)
      process.kill(daemonPid, "SIGCONT")
      assert.include(reason, "keychain")
      assert.isBelow(millis, 3000 + slack)
    }))

  it.live("a collection that stays locked: within 3 seconds", () =>
    Effect.gen(function*() {
      const { address, lock } = yield* service
      yield* Effect.promise(lock)
      const { millis, reason } = yield* passedOver(address)
      assert.include(reason, "unlock")
      assert.isBelow(millis, 3000 + slack)
    }))

  it.live("no native binary", () =>
    Effect.gen(function*() {
      const { reason } = yield* passedOver(undefined, { NAPI_RS_NATIVE_LIBRARY_PATH: "/nonexistent.node" })
      assert.include(reason, "the native part of @napi-rs/keyring is not there for this machine")
    }))

  it.live("one that is asked for by name is not passed over", () =>
    Effect.gen(function*() {
      const child = yield* program(yield* temporary, undefined, ["put"], { AUTHN_STORAGE: "keyring" })
      assert.include((yield* child.said).error, "keyring: no keychain is running in this session")
    }))

  it.live("a daemon that dies midway: who has the key goes on, who has not is told, and nothing is lost", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const first = yield* service
      const env = { AUTHN_STORAGE: "keyring" }
      const running = yield* program(directory, first.address, ["put", "wait", "put"], env)
      assert.strictEqual((yield* running.said).value, 1)
      const files = () => Fs.readdirSync(Path.join(directory, "keychain")).filter((name) => name.endsWith(".json"))
      assert.strictEqual(files().length, 1)
      process.kill(first.daemonPid, "SIGKILL")
      Fs.writeFileSync(Path.join(directory, "go"), "")
      yield* running.said
      assert.strictEqual((yield* running.said).value, 2)
      const late = yield* program(directory, first.address, ["get", "put"], env)
      assert.include((yield* late.said).error, "keyring: ")
      assert.include((yield* late.said).error, "keyring: ")
      assert.strictEqual(files().length, 1)
    }))

  it.live("a bus that stops answering midway: each call that needs it ends after 3 seconds", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const { address, busPid } = yield* service
      const child = yield* program(directory, address, ["choose", "wait", "put"], { AUTHN_STORAGE: "keyring" })
      assert.strictEqual((yield* child.said).value?.place, "keyring")
      process.kill(busPid, "SIGSTOP")
      Fs.writeFileSync(Path.join(directory, "go"), "")
      yield* child.said
      const { error, millis } = yield* child.said
      process.kill(busPid, "SIGCONT")
      assert.include(error, "the keychain did not answer within 3s")
      assert.isAbove(millis, 2900)
      assert.isBelow(millis, 3000 + slack)
    }))

  it.live("a key that is gone leaves the session as it is", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const env = { AUTHN_STORAGE: "keyring" }
      const [one, two] = [yield* service, yield* service]
      const writer = yield* program(directory, one.address, ["put"], env)
      assert.strictEqual((yield* writer.said).value, 1)
      const stranger = yield* program(directory, two.address, ["get", "put"], env)
      assert.include((yield* stranger.said).error, "is encrypted with another key")
      assert.include((yield* stranger.said).error, "is encrypted with another key")
      const again = yield* program(directory, one.address, ["get"], env)
      assert.strictEqual((yield* again.said).value, 1)
    }))
})

describe.runIf(isThere)("auto, where a session lies already", () => {
  const files = (directory: string, place: string) =>
    Fs.existsSync(Path.join(directory, place))
      ? Fs.readdirSync(Path.join(directory, place)).filter((name) => name.endsWith(".json"))
      : []

  it.live("a keychain that does not answer is no reason to begin another session", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const { address, daemonPid } = yield* service
      const first = yield* program(directory, address, ["put"])
      assert.strictEqual((yield* first.said).value, 1)
      process.kill(daemonPid, "SIGSTOP")
      for (const bus of [address, yield* mute, undefined, "unix:path=/nonexistent/bus"]) {
        const later = yield* program(directory, bus, ["get", "put"])
        for (const _ of ["get", "put"]) {
          assert.match((yield* later.said).error ?? "", /lies where it cannot be read now.*keyring: /)
        }
      }
      process.kill(daemonPid, "SIGCONT")
      assert.deepStrictEqual([files(directory, "keychain").length, files(directory, "encrypted").length], [1, 0])
      const again = yield* program(directory, address, ["get"])
      assert.strictEqual((yield* again.said).value, 1)
    }))

  it.live("and one that comes back is no reason either", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const first = yield* program(directory, undefined, ["put"])
      assert.strictEqual((yield* first.said).value, 1)
      const { address } = yield* service
      const later = yield* program(directory, address, ["get", "put"])
      assert.deepStrictEqual([(yield* later.said).value, (yield* later.said).value], [1, 2])
      assert.deepStrictEqual([files(directory, "keychain").length, files(directory, "encrypted").length], [0, 1])
    }))
})

describe.runIf(isThere)("the helper process", () => {
  it.live("is killed when it does not answer", () =>
    Effect.gen(function*() {
      const child = yield* program(yield* temporary, yield* mute, ["choose", "wait"])
      while (childrenOf(child.pid).length === 0) yield* Effect.sleep("10 millis")
      const helpers = childrenOf(child.pid)
      yield* child.said
      yield* gone(helpers)
      assert.isEmpty(childrenOf(child.pid))
    }))

  it.live("that is slow to start is waited for", () =>
    Effect.gen(function*() {
      const { address } = yield* service
      const sleep = encodeURIComponent("Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3500)")
      const child = yield* program(yield* temporary, address, ["choose"], {
        NODE_OPTIONS: `--import=data:text/javascript,${sleep}`
      })
      const { millis, value } = yield* child.said
      assert.strictEqual(value?.place, "keyring")
      assert.isAbove(millis, 3500)
      const { stderr } = yield* child.ended
      assert.match(stderr, /waiting for the keychain's helper process to start: this machine may be busy/)
    }))

  it.live("says after a second that the keychain does not answer, and that another place was taken", () =>
    Effect.gen(function*() {
      const child = yield* program(yield* temporary, yield* mute, ["choose"])
      assert.strictEqual((yield* child.said).value?.place, "encrypted-file")
      const { stderr } = yield* child.ended
      assert.match(stderr, /waiting for the keychain: it may be asking for a password, or be busy/)
      assert.match(stderr, /keyring was passed over: the keychain did not answer within 3s/)
    }))

  it.live("serves all calls of a program, keeps it from ending in none, and ends with it", () =>
    Effect.gen(function*() {
      const { address } = yield* service
      const child = yield* program(yield* temporary, address, ["choose", "put", "get", "wait"])
      const seen = []
      for (let said = 0; said < 3; said++) {
        yield* child.said
        seen.push(...childrenOf(child.pid))
      }
      assert.deepStrictEqual(seen, [seen[0], seen[0], seen[0]])
      assert.isTrue(isRunning(seen[0]!))
      yield* child.kill
      yield* gone([seen[0]!])
    }))

  it.live("does not hold a program that has nothing else to do", () =>
    Effect.gen(function*() {
      const { address } = yield* service
      const child = yield* program(yield* temporary, address, ["choose", "put"])
      yield* child.said
      const helpers = childrenOf(child.pid)
      yield* child.said
      const { code } = yield* child.ended
      assert.strictEqual(code, 0)
      assert.strictEqual(helpers.length, 1)
      yield* gone(helpers)
    }))

  it.live("dies with a program that is killed, also while it hangs", () =>
    Effect.gen(function*() {
      const child = yield* program(yield* temporary, yield* mute, ["choose"])
      while (childrenOf(child.pid).length === 0) yield* Effect.sleep("10 millis")
      const helpers = childrenOf(child.pid)
      // until it hangs in the constructor
      yield* Effect.sleep("500 millis")
      yield* child.kill
      yield* gone(helpers)
    }))
})
