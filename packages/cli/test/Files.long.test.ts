import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { data, expire, type Home, home, login, simulated, stored, storedToken } from "./authn.ts"

const isRoot = process.geteuid?.() === 0
const nobody = 65_534

interface Finding {
  readonly check: string
  readonly verdict: string
  readonly detail: string
}

/** Nothing that goes wrong ends in a stack trace. */
const plain = ({ stderr }: { readonly stderr: string }) => assert.notMatch(stderr, /\n\s+at /)

describe.skipIf(process.platform === "win32")("files of the command", () => {
  it.live("a session file that is a link is renewed where it is", () =>
    simulated({ rotation: "strict" }, (simulator, home) =>
      Effect.gen(function*() {
        yield* login(home, simulator.issuer, "genomcore")
        const { file } = stored(home)
        const target = path.join(home.directory, "dotfiles.json")
        fs.renameSync(file, target)
        fs.symlinkSync(target, file)
        const before = storedToken(home)
        expire(home, Date.now() + 1000)
        const renewed = yield* home.spawn(["token"])
        assert.strictEqual(renewed.code, 0, renewed.stderr)
        assert.isTrue(fs.lstatSync(file).isSymbolicLink())
        assert.notStrictEqual(storedToken(home), before)
        assert.strictEqual(storedToken(home), renewed.stdout.trim())
        // logout leaves no token behind
        assert.strictEqual((yield* home.spawn(["logout"])).code, 0)
        assert.isFalse(fs.existsSync(target))
      })))

  it.live("a data directory that is a link, below directories of a group, is as good as any", () =>
    simulated({}, (simulator, home) =>
      Effect.gen(function*() {
        const target = path.join(home.directory, "elsewhere")
        fs.mkdirSync(target, { mode: 0o700 })
        fs.mkdirSync(path.dirname(data(home)), { recursive: true })
        fs.chmodSync(path.dirname(data(home)), 0o775)
        fs.symlinkSync(target, data(home))
        const by = ["sh", "-c", "umask 002; exec \"$@\"", "sh"]
        const signedIn = yield* login(
          { ...home, run: (args, options) => home.spawn(args, { ...options, by }) },
          simulator.issuer,
          "datalayer"
        )
        assert.strictEqual(signedIn.code, 0, signedIn.stderr)
        assert.strictEqual((yield* home.spawn(["token"], { by })).stdout.trim(), storedToken(home))
        const doctor = yield* home.spawn(["doctor", "--json"], { by })
        assert.include(doctor.stdout, "only you can read what is there")
        assert.strictEqual((yield* home.spawn(["logout"], { by })).code, 0)
        assert.isTrue(fs.lstatSync(data(home)).isSymbolicLink())
      })))

  for (
    const [what, says, spoil] of [
      [
        "its directory is open to all",
        /others can write there \(mode 777\).*chmod/s,
        (home: Home) => fs.chmodSync(path.dirname(stored(home).file), 0o777)
      ],
      [
        "its group can write in its directory",
        /others can write there \(mode 770\).*chmod/s,
        (home: Home) => fs.chmodSync(path.dirname(stored(home).file), 0o770)
      ],
      [
        "the directory of the program is open",
        /others can write there \(mode 777\).*chmod/s,
        (home: Home) => fs.chmodSync(data(home), 0o777)
      ],
      [
        "accounts are open to all",
        /accounts: others can write there \(mode 777\).*chmod/s,
        (home: Home) => fs.chmodSync(data(home, "accounts"), 0o777)
      ],
      ["it is a pipe", /a pipe is in the way of a file/, (home: Home) => {
        const { file } = stored(home)
        fs.rmSync(file)
        ChildProcess.spawnSync("mkfifo", [file])
      }],
      ["its account is a pipe", /a pipe is in the way of a file/, (home: Home) => {
        fs.rmSync(data(home, "accounts/default.json"))
        ChildProcess.spawnSync("mkfifo", [data(home, "accounts/default.json")])
      }],
      ["it has 700 MB", /larger than 16 MiB/, (home: Home) => fs.truncateSync(stored(home).file, 700 * 1024 * 1024)],
      [
        "its account has 700 MB",
        /larger than 16 MiB/,
        (home: Home) => fs.truncateSync(data(home, "accounts/default.json"), 700 * 1024 * 1024)
      ],
      [
        "it is another user's",
        /belongs to another user \(uid 65534\)/,
        (home: Home) => fs.chownSync(stored(home).file, nobody, nobody)
      ],
      [
        "its directory is another user's",
        /belongs to another user \(uid 65534\)/,
        (home: Home) => fs.chownSync(path.dirname(stored(home).file), nobody, nobody)
      ]
    ] as const
  ) {
    it.live.skipIf(!isRoot && what.includes("another user"))(
      `a session is not used where ${what}`,
      () =>
        simulated({}, (simulator, home) =>
          Effect.gen(function*() {
            yield* login(home, simulator.issuer, "datalayer")
            spoil(home)
            const requests = (yield* simulator.ledger).length
            for (const args of [["token"], ["whoami"], ["logout"]]) {
              const ended = yield* home.spawn(args)
              assert.deepStrictEqual([ended.code, ended.stdout], [1, ""], `${args}: ${ended.stderr}`)
              assert.match(ended.stderr, says, `${args}`)
              plain(ended)
            }
            assert.lengthOf(yield* simulator.ledger, requests)
            const doctor = yield* home.spawn(["doctor", "--json"])
            const found: ReadonlyArray<Finding> = JSON.parse(doctor.stdout)
            assert.match(found.filter(({ verdict }) => verdict === "bad").map(({ detail }) => detail).join("\n"), says)
            assert.isTrue(found.some(({ check }) => check === "callback"))
          }))
    )
  }

  it.live("a file that is named, and is none, is said, and hangs nobody", () =>
    Effect.gen(function*() {
      const there = yield* home
      const pipe = path.join(there.directory, "pipe")
      ChildProcess.spawnSync("mkfifo", [pipe])
      const large = path.join(there.directory, "large")
      fs.writeFileSync(large, "{", { mode: 0o600 })
      fs.truncateSync(large, 700 * 1024 * 1024)
      const login = ["login", "--dialect", "oidc", "--issuer", "https://id.example", "--client-id", "c", "--device"]
      const verify = ["jwt", "verify", "--issuer", "x", "--audience", "y"]
      for (
        const [args, input, says] of [
          [[...login, "--metadata", large], "", /longer than 1048576 bytes/],
          [[...verify, "--key", large], "token", /longer than 1048576 bytes/],
          [["vault", "--providers", large], "", /longer than 1048576 bytes/],
          [[...login, "--metadata", there.directory], "", /cannot be read: .*directory.* \(EISDIR\)/],
          [[...verify, "--key", `${large}/key`], "token", /cannot be read: not a directory \(ENOTDIR\)/],
          [["token", "--vault", "https://v.example", "--vault-token-file", large], "", /longer than 64 KiB/],
          [["token", "--vault", "https://v.example", "--vault-token-file", pipe], "", /is not a file/],
          [["token", "--vault", "https://v.example", "--vault-token-file", "/dev/zero"], "", /is not a file/]
        ] as const
      ) {
        const ended = yield* there.spawn(args, { input })
        assert.strictEqual(ended.code, 2, `${args}: ${ended.stderr}`)
        assert.match(ended.stderr.replace(/\s+/g, " "), says)
        plain(ended)
      }
    }).pipe(Effect.scoped))

  it.live("a file of settings that is none is said, and hangs nobody", () =>
    Effect.gen(function*() {
      const there = yield* home
      const file = path.join(there.directory, ".config/effect-authn/config.toml")
      fs.mkdirSync(path.dirname(file), { recursive: true })
      ChildProcess.spawnSync("mkfifo", [file])
      const ended = yield* there.spawn(["status"])
      assert.match((yield* there.spawn(["doctor", "--json"])).stdout, /no file of settings/)
      plain(ended)
      // one that is a link to a file of the person's own is as good as a file
      fs.rmSync(file)
      fs.writeFileSync(`${file}.mine`, "dialect = \"oidc\"\n", { mode: 0o664 })
      fs.symlinkSync(`${file}.mine`, file)
      assert.include((yield* there.spawn(["config"])).stdout, "oidc")
    }).pipe(Effect.scoped))
})
