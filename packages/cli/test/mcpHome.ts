/** A home with a browser in which a person says yes, for `authn mcp`. */
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

export const make = (main: string) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "authn-mcp-"))
  const bin = path.join(directory, "bin")
  const browsers = path.join(directory, "browsers")
  fs.mkdirSync(bin)
  fs.writeFileSync(
    path.join(bin, "xdg-open"),
    `#!/bin/sh\n"${process.execPath}" "${path.join(import.meta.dirname, "children/person.ts")}" "${browsers}" "$1" ` +
      `>/dev/null 2>"${browsers}.errors" &\n`,
    { mode: 0o755 }
  )
  const env: Record<string, string> = {
    HOME: directory,
    XDG_DATA_HOME: path.join(directory, "data"),
    XDG_CONFIG_HOME: path.join(directory, "config"),
    AUTHN_STORAGE: "plain-file",
    DISPLAY: ":1",
    PATH: `${bin}:${process.env["PATH"]}`
  }
  const read = (file: string) => fs.existsSync(file) ? fs.readFileSync(file, "utf8") : ""
  return {
    directory,
    env,
    /** The addresses that browsers were opened at. */
    browsers: () => read(browsers).split("\n").filter(Boolean),
    pages: () => read(`${browsers}.pages`),
    run: (args: ReadonlyArray<string>, input = "") =>
      new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
        const child = execFile(process.execPath, [main, ...args], { env, timeout: 60_000 }, (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr })
        })
        child.stdin?.end(input)
      }),
    /** A host: the official client over a bridge that it starts, `authn mcp stdio` unless told. */
    host: async (url: string, more: Record<string, string> = {}, args = [main, "mcp", "stdio", url]) => {
      const transport = new StdioClientTransport({
        command: process.execPath,
        args,
        env: { ...env, ...more },
        stderr: "pipe"
      })
      let stderr = ""
      transport.stderr?.on("data", (chunk) => (stderr += String(chunk)))
      const client = new Client({ name: "host", version: "1" })
      await client.connect(transport)
      return { client, transport, stderr: () => stderr }
    },
    remove: () => fs.rmSync(directory, { recursive: true, force: true })
  }
}
