/** Reads the sources and holds them to the rules of docs/architecture.md that a compiler does not check. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"

const root = Path.join(import.meta.dirname, "../..")
const scope = "@effect-authn/"

interface Source {
  /** From the root, with forward slashes. */
  readonly path: string
  readonly text: string
  /** Without comments and strings: a word in it is code. */
  readonly code: string
  readonly imports: ReadonlyArray<string>
}

interface Package {
  /** As the directories spell it: `core`, `iam/oidc`. */
  readonly name: string
  readonly sources: ReadonlyArray<Source>
}

const list = (directory: string): ReadonlyArray<string> =>
  Fs.existsSync(directory) ? Fs.readdirSync(directory, { withFileTypes: true }).map((entry) => entry.name) : []

const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1")

const read = (path: string): Source => {
  const text = withoutComments(Fs.readFileSync(Path.join(root, path), "utf8"))
  return {
    path,
    text,
    code: text.replace(/"(?:[^"\\\n]|\\.)*"/g, "\"\""),
    imports: Array.from(
      text.matchAll(/^(?:import|export)\s[^"'=;]*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm),
      ([, ...specifiers]) => specifiers.find((specifier) => specifier !== undefined) ?? ""
    )
  }
}

const packages: ReadonlyArray<Package> = ["core", "testing", "cli", "bench", "vault", "mcp"]
  .concat(
    ["iam", "platform", "storage"].flatMap((family) =>
      list(Path.join(root, "packages", family)).map((name) => `${family}/${name}`)
    )
  )
  .map((name) => {
    const source = `packages/${name}/src`
    const files = Fs.existsSync(Path.join(root, source))
      ? Fs.readdirSync(Path.join(root, source), { recursive: true, encoding: "utf8" })
      : []
    return {
      name,
      sources: files.filter((file) => file.endsWith(".ts")).map((file) =>
        read(`${source}/${file.replaceAll("\\", "/")}`)
      )
    }
  })
  .filter(({ sources }) => sources.length > 0)

const published = packages.filter(({ name }) => name !== "bench")
const sources = published.flatMap((one) => one.sources)

/** The package of ours that an import names, as the directories spell it. */
const target = (specifier: string): string | undefined =>
  specifier.startsWith(scope)
    ? specifier.slice(scope.length).split("/")[0]!.replace(/^(iam|platform|storage)-/, "$1/")
    : undefined

const offences = (check: (source: Source) => ReadonlyArray<string>) =>
  sources.flatMap((source) => check(source).map((offence) => `${source.path}: ${offence}`))

describe("imports", () => {
  const allowed = (from: string, to: string): boolean => {
    if (from === to || from === "cli" || from === "bench") return true
    if (from === "testing") return to === "core" || to.startsWith("iam/")
    if (from === "mcp") return to === "core" || to === "iam/oidc"
    return from !== "core" && to === "core"
  }

  it("run one way: effect, core, dialects, testing; core, platforms and storages", () => {
    assert.isAtLeast(packages.length, 5)
    const wrong = packages.flatMap(({ name, sources }) =>
      sources.flatMap(({ imports, path }) =>
        imports.map(target).filter((to) => to !== undefined && !allowed(name, to)).map((to) => `${path} imports ${to}`)
      )
    )
    assert.deepStrictEqual(wrong, [])
  })

  it("of core are effect and jose, so that it runs anywhere", () => {
    const core = packages.find(({ name }) => name === "core")!
    const others = core.sources.flatMap(({ imports }) => imports).filter((name) => !/^(\.|effect\/|jose$)/.test(name))
    assert.deepStrictEqual(others, [])
  })

  it("stay inside their package, and name modules, not barrels", () => {
    assert.deepStrictEqual(
      offences(({ imports, path }) => {
        const home = path.slice(0, path.indexOf("/src/") + 5)
        return imports.filter((name) =>
          name.startsWith(".")
            ? !Path.posix.join(Path.posix.dirname(path), name).startsWith(home) || name.endsWith("/index.ts")
            : name === "effect" || (name.startsWith(scope) && name.split("/").length < 3)
        )
      }),
      []
    )
  })
})

describe("the folders", () => {
  // What stands to its left is what a folder may import from: design first, names second.
  const order: ReadonlyArray<readonly [room: RegExp, below: RegExp]> = [
    [/^(SecureUrl|Challenge|Variable)\.ts$/, /^$/],
    [/^jwt\//, /^(SecureUrl|internal\/(inTime|wholeBody))\.ts$/],
    [/^session\//, /^(SecureUrl\.ts$|jwt\/)/],
    [/^(iam|storage)\//, /^((SecureUrl|Variable)\.ts$|internal\/(inTime|wholeBody)\.ts$|jwt\/|session\/)/],
    [/^AuthError\.ts$/, /^(jwt|session|iam|storage)\//],
    [/^(keeper|login)\//, /^(SecureUrl\.ts$|AuthError\.ts$|(jwt|session|iam|storage)\/)/],
    [/^AuthManager\.ts$/, /^(SecureUrl\.ts$|AuthError\.ts$|(jwt|session|iam|storage|keeper|login)\/)/],
    [
      /^AuthHttpClient\.ts$/,
      /^(SecureUrl\.ts$|Challenge\.ts$|AuthError\.ts$|AuthManager\.ts$|(jwt|session|iam|storage|keeper|login)\/)/
    ],
    [/^internal\/(remembered|verifier|proofs)\.ts$/, /^(jwt|internal)\//],
    [/^internal\//, /^$/],
    [/^BearerAuth\.ts$/, /^(SecureUrl\.ts$|jwt\/|internal\/)/],
    [/^TokenIntrospection\.ts$/, /^(SecureUrl\.ts$|jwt\/|iam\/|internal\/|BearerAuth\.ts$)/]
  ]
  const src = "packages/core/src/"

  it("of core stand in one order, types included", () => {
    const core = packages.find(({ name }) => name === "core")!
    const wrong = core.sources.filter(({ path }) => path !== `${src}index.ts`).flatMap(({ imports, path }) => {
      const file = path.slice(src.length)
      const folder = file.slice(0, file.indexOf("/") + 1)
      const below = order.find(([room]) => room.test(file))
      if (below === undefined) return [`${file} stands in no room of the plan`]
      return imports.filter((name) => name.startsWith(".")).map((name) =>
        Path.posix.join(Path.posix.dirname(path), name).slice(src.length)
      ).filter((to) => !(folder !== "" && to.startsWith(folder)) && !below[1].test(to)).map((to) =>
        `${file} imports ${to}`
      )
    })
    assert.deepStrictEqual(wrong, [])
  })

  it("called internal are imported from beside them only", () => {
    assert.deepStrictEqual(
      offences(({ imports, path }) =>
        imports.filter((name) => {
          if (!name.startsWith(".")) return name.startsWith(scope) && name.includes("/internal/")
          const to = Path.posix.join(Path.posix.dirname(path), name)
          const at = to.indexOf("/internal/")
          return at >= 0 && !path.startsWith(to.slice(0, at + 1))
        })
      ),
      []
    )
  })
})

describe("the keeper", () => {
  const isKeeper = (path: string) => path.startsWith("packages/core/src/keeper/")
  const isTesting = (path: string) => path.startsWith("packages/testing/")
  // The policy is a storage made of others, between which it moves sessions; a change of keys writes them as they are.
  const isStorage = (path: string) => /^packages\/storage\/|TokenStorage\.ts$|(StoragePolicy|Rekey)\.ts$/.test(path)
  // An IamClient around another one, for the keepers of a vault.
  const isClient = (path: string) => path === "packages/vault/src/internal/issuer.ts"

  // What has methods of these names and is no storage: a kept session, a vault, logins that are pending, records and files.
  const isOther = new Set(["kept", "vault", "pendingLogins", "Account", "PrivateFile", "fs"])

  it("alone calls IamClient.renew", () => {
    const renewals = sources.flatMap(({ code, path }) =>
      Array.from(code.matchAll(/(\w+)\s*\??\.\s*renew\b/g), ([, receiver]) => ({ path, receiver }))
    ).filter(({ path, receiver }) => receiver !== "kept" && !isTesting(path))
    assert.isAtLeast(renewals.length, 1)
    assert.deepStrictEqual(renewals.filter(({ path }) => !isKeeper(path) && !isClient(path)), [])
  })

  it("has one module that writes an entry", () => {
    const writes = /\b(?:entry|trouble)(?:!?\.\w+)+\s*(?:[-+*/]|\?\?|\|\||&&)?=(?!=)/g
    const keeper = sources.filter(({ path }) => isKeeper(path))
    const writers = keeper.filter(({ code }) => code.match(writes) !== null).map(({ path }) => path)
    assert.deepStrictEqual(writers, ["packages/core/src/keeper/internal/entry.ts"])
  })

  it("alone writes and removes sessions, apart from the storages", () => {
    const writes = sources.filter(({ code }) => /\bTokenStorage\b/.test(code)).flatMap(({ code, path }) =>
      Array.from(code.matchAll(/(\w+)\s*\??\.\s*(?:put|remove)\(/g), ([, receiver]) => ({ path, receiver }))
    ).filter(({ path, receiver }) => !isOther.has(receiver!) && !isTesting(path) && !isStorage(path))
    assert.isAtLeast(writes.length, 1)
    assert.deepStrictEqual(writes.filter(({ path }) => !isKeeper(path)), [])
  })
})

describe("time, chance, the environment and the console", () => {
  // A program's entry point is where the outside is; what starts a program hands it on. All else gets it as a service.
  const entryPoints = /^packages\/(testing\/src\/bin\/|cli\/src\/(main|ReadyToken|ReadyKeychain|Program)\.ts$)/
  const isEntryPoint = (path: string) => entryPoints.test(path) || path.endsWith("internal/identityCommand.ts")

  it("come from services, apart from the entry points of programs", () => {
    // A date of a moment that is given tells no time.
    const forbidden = /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bprocess\.env\b|\bconsole\.|\bperformance\.now\b/g
    assert.deepStrictEqual(
      offences(({ code, path }) => isEntryPoint(path) ? [] : Array.from(code.matchAll(forbidden), ([word]) => word)),
      []
    )
  })
})

describe("each package", () => {
  const plan = Fs.readFileSync(Path.join(root, "docs/architecture.md"), "utf8").split("## Core")[0]!
  const directories = Fs.globSync("packages/{*,*/*}/package.json", { cwd: root })
    .map((file) => Path.dirname(file).replaceAll("\\", "/"))
    .filter((directory) => !directory.includes("node_modules"))

  it("is known to these tests, and stands in the plan of docs/architecture.md", () => {
    const names = directories.map((directory) => directory.slice("packages/".length))
    assert.sameMembers(names, packages.map(({ name }) => name))
    assert.deepStrictEqual(names.filter((name) => !plan.includes(name)), [])
  })

  it("that the command uses is an arrow to it in the plan", () => {
    const used = packages.find(({ name }) => name === "cli")!.sources.flatMap(({ imports }) =>
      imports.flatMap((path) => target(path) ?? []).filter((to) => !["cli", "core", "testing"].includes(to))
    )
    const arrows = new Set(Array.from(plan.matchAll(/^ +cli --> (\w+)$/gm), ([, to]) => to!))
    const named = (to: string) => {
      const [folder, name] = to.split("/") as [string, string?]
      return folder === "storage" && name !== "keyring" ? name : folder
    }
    assert.sameMembers([...arrows], [...new Set(used.map(named))])
  })

  it("of core has all its modules in the plan", () => {
    const table = Fs.readFileSync(Path.join(root, "docs/architecture.md"), "utf8").split("## Core")[1]!
      .split("**The layering rule**")[0]!
    const modules = packages.find(({ name }) => name === "core")!.sources.map(({ path }) =>
      Path.posix.basename(path, ".ts")
    ).filter((name) => /^[A-Z]/.test(name))
    assert.deepStrictEqual(modules.filter((name) => !table.includes(`\`${name}\``)), [])
  })

  it("that is imported keeps to itself what is internal", () => {
    const open = directories.flatMap((directory) => {
      const { exports = {}, publishConfig } = JSON.parse(
        Fs.readFileSync(Path.join(root, directory, "package.json"), "utf8")
      )
      if (!("./*" in exports)) return []
      return Fs.globSync("src/**/internal", { cwd: Path.join(root, directory) }).map((folder) =>
        `./${folder.replaceAll("\\", "/").slice("src/".length)}/*`
      ).filter((pattern) => exports[pattern] !== null || publishConfig.exports[pattern] !== null)
        .map((pattern) => `${directory}: ${pattern}`)
    })
    assert.deepStrictEqual(open, [])
  })

  it("that is published has a README and keywords", () => {
    const mute = directories.filter((directory) => {
      const text = Fs.readFileSync(Path.join(root, directory, "package.json"), "utf8")
      const { keywords = [], private: isPrivate = false } = JSON.parse(text)
      return !isPrivate && (keywords.length === 0 || !Fs.existsSync(Path.join(root, directory, "README.md")))
    })
    assert.deepStrictEqual(mute, [])
  })
})

describe("docs/conformance.md", () => {
  const document = ["docs/conformance.md", "docs/conformance-upstream.md"]
    .map((file) => Fs.readFileSync(Path.join(root, file), "utf8")).join("\n")
  const proofs = Array.from(
    document.matchAll(/`(core|testing|cli|iam\/\w+|platform\/\w+|storage\/\w+)\/([\w./-]+\.test\.ts)` "([^"]+)"/g),
    ([, name, file, title]) => ({
      path: `packages/${name}/test/${file}`,
      title: title!
    })
  )

  it("names tests that exist", () => {
    assert.isAtLeast(proofs.length, 80)
    const missing = proofs.filter(({ path, title }) =>
      !Fs.existsSync(Path.join(root, path)) ||
      !Fs.readFileSync(Path.join(root, path), "utf8").includes(JSON.stringify(title))
    )
    assert.deepStrictEqual(missing, [])
    const files = Array.from(
      document.matchAll(/`(core|testing|cli|iam\/\w+|platform\/\w+|storage\/\w+)\/([\w./-]+\.test\.ts)`/g),
      ([, name, file]) => `packages/${name}/test/${file}`
    )
    assert.deepStrictEqual(files.filter((path) => !Fs.existsSync(Path.join(root, path))), [])
  })

  it("has every test case of upstream: with its counterpart here, or what it waits for", () => {
    const rows = document.split("\n").filter((line) =>
      /^\| (test_authn|AuthenticationManager\.test|storage\.test)/.test(line)
    )
    assert.strictEqual(rows.length, 45)
    assert.deepStrictEqual(rows.filter((row) => !/ owed: .|`[^`]+\.test\.ts` "/.test(row)), [])
    const named = new Set(proofs.map(({ title }) => title))
    const written = ["core", "platform/node"].flatMap((name) =>
      Array.from(
        Fs.readFileSync(Path.join(root, `packages/${name}/test/Upstream.test.ts`), "utf8").matchAll(
          /"(upstream[^"]+)"/g
        ),
        ([, title]) => title!
      )
    )
    assert.deepStrictEqual(written.filter((title) => !named.has(title)), [])
  })
})
