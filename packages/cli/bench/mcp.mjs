// Eight hosts that are signed in to one server of MCP make eight calls each at the moment at which the token ends, under a
// strict authorization server (rotation; a refresh token that is seen again revokes the family). Needs `npm run build`.
// Usage: node packages/cli/bench/mcp.mjs [hosts] [calls]
import { fork, spawn } from "node:child_process"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as os from "node:os"
import * as path from "node:path"
import { start } from "../../mcp/test/strict.ts"
import { make } from "../test/mcpHome.ts"

const [hosts = 8, calls = 8] = process.argv.slice(2).map(Number)
const authn = path.join(import.meta.dirname, "../dist/authn.js")
const remote = createRequire(import.meta.url).resolve("mcp-remote/dist/proxy.js")

/** Hosts over a program that bridges standard input to the server. `asked` counts the browsers that it wanted. */
const bridged = (program, signIn, asked) => async (server) => {
  const home = make(authn)
  await signIn(home, server)
  const signedIn = home.browsers().length
  const open = await Promise.all(Array.from({ length: hosts }, () => home.host(server.url, {}, program(server.url))))
  return {
    call: async () => {
      const results = await Promise.allSettled(
        open.flatMap(({ client }) => Array.from({ length: calls }, () => client.callTool({ name: "echo", arguments: {} })))
      )
      return {
        failed: results.filter(({ status }) => status === "rejected").length,
        browsers: home.browsers().length - signedIn + open.reduce((sum, { stderr }) => sum + asked(stderr()), 0)
      }
    },
    close: async () => {
      await Promise.allSettled(open.map(({ client }) => client.close()))
      home.remove()
    }
  }
}

const person = path.join(import.meta.dirname, "../test/children/person.ts")
const invitations = (text) => [...text.matchAll(/by visiting:\s+(http\S+)/g)].map(([, address]) => address)

/** `mcp-remote` prints the address that it opens: a person goes there. */
const signInWithRemote = (home, server) =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [remote, server.url], { env: home.env, stdio: ["pipe", "ignore", "pipe"] })
    let text = ""
    let isVisited = false
    child.stderr.on("data", (chunk) => {
      text += String(chunk)
      const [address] = invitations(text)
      if (address === undefined || isVisited) return
      isVisited = true
      spawn(process.execPath, [person, path.join(home.directory, "visits"), address], { stdio: "ignore" })
      const waiting = setInterval(() => {
        if (server.count("code") === 0) return
        clearInterval(waiting)
        setTimeout(() => child.kill(), 1000)
      }, 50)
    })
    child.once("close", resolve)
    setTimeout(() => reject(new Error(text)), 30_000).unref()
  })

const contenders = {
  "authn mcp stdio": bridged((url) => [authn, "mcp", "stdio", url], async (home, server) => {
    const { code, stderr } = await home.run(["mcp", "login", server.url])
    if (code !== 0) throw new Error(stderr)
  }, () => 0),
  "mcp-remote": bridged((url) => [remote, url], signInWithRemote, (stderr) => invitations(stderr).length),
  "the official SDK, one file of tokens": async (server) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "mcp-sdk-"))
    const file = path.join(directory, "tokens.json")
    const host = path.join(import.meta.dirname, "mcpSdkHost.mjs")
    await new Promise((resolve) => fork(host, [server.url, file, "login"]).once("close", resolve))
    const children = Array.from({ length: hosts }, () => fork(host, [server.url, file, calls], { stdio: "ignore" }))
    const message = (child) => new Promise((resolve) => child.once("message", resolve))
    await Promise.all(children.map(message))
    return {
      call: async () => {
        const answers = await Promise.all(children.map((child) => {
          const answer = message(child)
          child.send("go")
          return answer
        }))
        return {
          failed: answers.reduce((sum, { failed }) => sum + failed, 0),
          browsers: answers.reduce((sum, { browsers }) => sum + browsers, 0)
        }
      },
      close: async () => fs.rmSync(directory, { recursive: true })
    }
  }
}

console.log(`${hosts} hosts, ${calls} calls each, at the end of the token's life\n`)
const head = ["", "renewed", "refused", "browsers", "failed calls", "wall"]
const rows = [head]
for (const [name, begin] of Object.entries(contenders)) {
  const server = await start()
  const { call, close } = await begin(server)
  server.ledger.length = 0
  server.tokens.clear()
  const begun = performance.now()
  const { browsers, failed } = await call()
  const wall = performance.now() - begun
  rows.push([
    name,
    server.count("refresh"),
    server.count("refresh refused"),
    browsers,
    `${failed} of ${hosts * calls}`,
    `${wall.toFixed(0)} ms`
  ].map(String))
  await close()
  await server.close()
}
const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column].length)))
for (const row of rows) {
  console.log(row.map((cell, column) => column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])).join("  "))
}
process.exit(0)
