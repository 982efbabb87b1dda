// What `npm test` runs, and beside it, as projects of their own whose names end in ":long", what `npm run test:long` runs.
import * as path from "node:path"
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config"
import { BaseSequencer, type TestSpecification, type Vite } from "vitest/node"
import { mutants } from "./packages/core/test/keeper/mutants.ts"

const root = import.meta.dirname

type Test = NonNullable<TestProjectInlineConfiguration["test"]>

/** How many random histories SessionModel plays, from which seed, and with how many sessions SessionScale; unless the caller says. */
const scale = (counts: { readonly histories: number; readonly seed: number; readonly sessions: number }) => ({
  EFFECT_AUTHN_MODEL_RUNS: process.env["EFFECT_AUTHN_MODEL_RUNS"] ?? `${counts.histories}`,
  EFFECT_AUTHN_MODEL_SEED: process.env["EFFECT_AUTHN_MODEL_SEED"] ?? `${counts.seed}`,
  EFFECT_AUTHN_SCALE: `${counts.sessions}`
})

const named = process.env["EFFECT_AUTHN_MUTANT"]

/** Puts the fault back that EFFECT_AUTHN_MUTANT names, while its file is loaded. */
const mutation = (): Vite.Plugin => {
  const mutant = mutants.find(({ name }) => name === named)
  if (named !== undefined && mutant === undefined) throw new Error(`EFFECT_AUTHN_MUTANT: there is no "${named}"`)
  return {
    name: "effect-authn-mutant",
    enforce: "pre",
    transform: (code, id) =>
      mutant !== undefined && id.split("?")[0]!.endsWith(`/packages/core/src/${mutant.file}`)
        ? code.replace(mutant.text, () => mutant.replacement)
        : undefined
  }
}

const project = (directory: string, test: Test): TestProjectInlineConfiguration => ({
  root: path.join(root, directory),
  resolve: { tsconfigPaths: true },
  plugins: [mutation()],
  test: {
    setupFiles: [path.join(root, "vitest.setup.ts")],
    sequence: { concurrent: true },
    fsModuleCache: named === undefined,
    // A limit is there for what hangs, not for what is slow.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    ...test
  }
})

/** The tests of a directory that take seconds. */
const quick = (directory: string, test: Test = {}) =>
  project(directory, {
    name: nameOf(directory),
    include: ["test/**/*.test.ts"],
    exclude: ["test/**/*.long.test.ts"],
    ...test
  })

/** Those that start real servers, browsers and other runtimes, or play long. They start processes: only two at a time. */
const long = (directory: string, test: Test = {}) =>
  project(directory, {
    name: `${nameOf(directory)}:long`,
    include: ["test/**/*.long.test.ts"],
    maxConcurrency: 2,
    ...test
  })

const nameOf = (directory: string) => directory.replace("packages/", "")

/** For tests that keep nothing in their process: what they import is loaded once. */
const shared: Test = { isolate: false }

const bundle: Test = { globalSetup: path.join(root, "packages/cli/test/bundle.ts") }

const longest = /Session(Model|Scale)\.test/

/** The longest files come first, so that no worker waits at the end for one that began late. */
class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const sorted = await super.sort(files)
    const isLongest = ({ moduleId }: TestSpecification) => longest.test(moduleId)
    return [...sorted.filter(isLongest), ...sorted.filter((file) => !isLongest(file))]
  }
}

export default defineConfig({
  test: {
    // What is loaded with a fault in it must not be found by the next run.
    fsModuleCache: named === undefined,
    // Most tests wait for processes and servers: Vitest's one worker on two cores would leave one of them idle.
    maxWorkers: "100%",
    sequence: { sequencer: LongestFirst },
    projects: [
      quick("packages/cli", bundle),
      quick("packages/core", { ...shared, env: scale({ histories: 250, seed: 1, sessions: 1000 }) }),
      quick("packages/iam/datalayer", shared),
      quick("packages/iam/genomcore", shared),
      quick("packages/iam/oidc", shared),
      quick("packages/mcp"),
      quick("packages/platform/node"),
      quick("packages/storage/keyring"),
      quick("packages/storage/sql"),
      quick("packages/storage/redis"),
      quick("packages/testing", shared),
      quick("packages/vault", shared),
      quick("scripts", shared),
      long("packages/cli", bundle),
      long("packages/core", {
        include: ["test/keeper/Session{Model,Scale}.test.ts"],
        env: scale({ histories: 3750, seed: 2, sessions: 10_000 })
      }),
      long("packages/iam/oidc"),
      long("packages/mcp"),
      long("packages/platform/node"),
      long("packages/storage/keyring"),
      long("packages/storage/sql"),
      long("packages/storage/redis"),
      long("packages/testing"),
      long("packages/vault"),
      long("scripts")
    ],
    coverage: {
      provider: "v8",
      reporter: ["json-summary"],
      reportsDirectory: path.join(root, "coverage"),
      // Vitest matches these against paths below each project; scripts/test.mjs reports what is in core.
      include: ["src/**/*.ts", "**/core/src/**/*.ts"],
      reportOnFailure: true
    }
  }
})
