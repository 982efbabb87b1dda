import * as path from "node:path"
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config"

const root = import.meta.dirname

const project = (
  directory: string,
  test: TestProjectInlineConfiguration["test"] = {}
): TestProjectInlineConfiguration => ({
  root: path.join(root, directory),
  resolve: { tsconfigPaths: true },
  test: {
    name: directory.replace("packages/", ""),
    include: ["test/**/*.test.ts"],
    setupFiles: [path.join(root, "vitest.setup.ts")],
    sequence: { concurrent: true },
    // A limit is there for what hangs, not for what is slow.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    ...test
  }
})

export default defineConfig({
  test: {
    // Most tests wait for processes and servers: Vitest's one worker on two cores would leave one of them idle.
    maxWorkers: "100%",
    projects: [
      project("packages/cli", { globalSetup: path.join(root, "packages/cli/test/bundle.ts") }),
      project("packages/core"),
      project("packages/iam/datalayer"),
      project("packages/iam/genomcore"),
      project("packages/iam/oidc"),
      project("packages/platform/node"),
      project("packages/storage/keyring"),
      project("packages/testing"),
      project("scripts")
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
