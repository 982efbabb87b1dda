/** The runs of the conformance suite of the Model Context Protocol, each as a process of its own. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

export interface Run {
  readonly scenario: string
  readonly version: string | undefined
}

const runs = (version: string | undefined, names: string): ReadonlyArray<Run> =>
  names.split(" ").map((name) => ({ scenario: `auth/${name}`, version }))

/** The six that run each time: one for each thing that can be told apart. */
export const quick: ReadonlyArray<Run> = [
  ...runs("2025-11-25", "metadata-default scope-step-up token-endpoint-auth-post"),
  ...runs("2026-07-28", "basic-cimd iss-wrong-issuer authorization-server-migration")
]

/** All that are about what this library does. */
export const all: ReadonlyArray<Run> = [
  ...runs(
    "2025-11-25",
    "metadata-default metadata-var1 metadata-var2 metadata-var3 basic-cimd scope-from-www-authenticate " +
      "scope-from-scopes-supported scope-omitted-when-undefined scope-step-up scope-retry-limit " +
      "token-endpoint-auth-basic token-endpoint-auth-post token-endpoint-auth-none pre-registration"
  ),
  ...runs(
    "2026-07-28",
    "metadata-default basic-cimd scope-step-up scope-retry-limit resource-mismatch offline-access-scope " +
      "offline-access-not-supported authorization-server-migration iss-supported iss-not-advertised " +
      "iss-supported-missing iss-wrong-issuer iss-unexpected iss-normalized metadata-issuer-mismatch pre-registration"
  ),
  ...runs("2025-03-26", "2025-03-26-oauth-metadata-backcompat 2025-03-26-oauth-endpoint-fallback"),
  ...runs(
    undefined,
    "client-credentials-jwt client-credentials-basic wif-jwt-bearer enterprise-managed-authorization dpop dpop-nonce"
  )
]

const suite = path.join(import.meta.dirname, "../node_modules/@modelcontextprotocol/conformance/dist/index.js")

/** What the suite says of a run of `client`, a program that gets the server's address as its last argument. */
export const conforms = ({ scenario, version }: Run, client: string): Promise<string> =>
  new Promise((resolve) => {
    const results = fs.mkdtempSync(path.join(os.tmpdir(), "mcp-conformance-"))
    const args = [
      suite,
      "client",
      "--command",
      `${process.execPath} ${client}`,
      "--scenario",
      scenario,
      // for what hangs: six start at once, and a busy machine takes longer than the suite's 30 s
      "--timeout",
      "110000",
      ...(version === undefined ? [] : ["--spec-version", version])
    ]
    execFile(
      process.execPath,
      args,
      { cwd: results, timeout: 120_000, maxBuffer: 2 ** 26 },
      (error, stdout, stderr) => {
        fs.rmSync(results, { recursive: true, force: true })
        const failures = stdout.split("\n").filter((line) => /FAILURE|WARNING|Client error|Error/.test(line))
        resolve(error === null ? "passed" : [error.message, ...failures, stderr.slice(-2000)].join("\n"))
      }
    )
  })
