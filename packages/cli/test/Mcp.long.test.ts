import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { inject, type TestContext } from "vitest"
import { start } from "../../mcp/test/strict.ts"
import { make } from "./mcpHome.ts"

const main = inject("bundle")

const world = async ({ onTestFinished }: TestContext) => {
  const server = await start()
  const home = make(main)
  onTestFinished(async () => {
    await server.close()
    home.remove()
  })
  return { server, home }
}

const call = { name: "echo", arguments: {} }

describe("authn mcp", () => {
  it("signs in once, and each host has the session", async (test) => {
    const { home, server } = await world(test)
    const signedIn = await home.run(["mcp", "login", server.url])
    assert.strictEqual(signedIn.code, 0, signedIn.stderr)
    assert.deepStrictEqual(server.ledger, ["register", "authorize", "code"])
    assert.include(home.pages(), server.url)
    assert.include(home.pages(), new URL(server.issuer).host)

    const host = await home.host(server.url)
    assert.deepStrictEqual((await host.client.callTool(call)).content, [{ type: "text", text: "echoed" }])
    await host.client.close()

    const status = await home.run(["mcp", "status", "--json"])
    assert.deepInclude(JSON.parse(status.stdout)[0], { url: server.url, signed_in: true, issuer: server.issuer })
    const header = await home.run(["mcp", "header", server.url])
    assert.match(JSON.parse(header.stdout).Authorization, /^Bearer at-/)
    assert.strictEqual(home.browsers().length, 1)

    assert.strictEqual((await home.run(["mcp", "logout", server.url])).code, 0)
    assert.strictEqual(server.count("revoke"), 1)
    const after = await home.run(["mcp", "header", server.url])
    assert.strictEqual(after.code, 3)
    assert.include(after.stderr, `authn mcp login ${server.url}`)
    const other = await home.run(["mcp", "header", server.url, "--account", "other"])
    assert.strictEqual(
      other.stderr,
      `authn: nobody has signed in; type: authn mcp login ${server.url} --account other\n`
    )
  })

  it("opens one browser for two hosts that start at once", async (test) => {
    const { home, server } = await world(test)
    const hosts = await Promise.all([home.host(server.url), home.host(server.url)])
    for (const { client } of hosts) assert.strictEqual((await client.listTools()).tools.length, 1)
    await Promise.all(hosts.map(({ client }) => client.close()))
    assert.strictEqual(home.browsers().length, 1)
    assert.deepStrictEqual([server.count("register"), server.count("authorize"), server.count("code")], [1, 1, 1])
  })

  it("renews once at the expiry, for 8 processes with 8 calls each", async (test) => {
    const { home, server } = await world(test)
    assert.strictEqual((await home.run(["mcp", "login", server.url])).code, 0)
    const hosts = await Promise.all(Array.from({ length: 8 }, () => home.host(server.url)))
    // All tokens end now, at the server.
    server.tokens.clear()
    const answers = await Promise.all(
      hosts.flatMap(({ client }) => Array.from({ length: 8 }, () => client.callTool(call)))
    )
    assert.strictEqual(answers.length, 64)
    assert.deepStrictEqual([server.count("refresh"), server.count("refresh refused")], [1, 0])
    assert.strictEqual(home.browsers().length, 1)
    await Promise.all(hosts.map(({ client }) => client.close()))
  })

  it("names the command where nobody can be asked", async (test) => {
    const { home, server } = await world(test)
    const line = JSON.stringify({ jsonrpc: "2.0", id: 7, method: "initialize", params: {} })
    const child = spawn(process.execPath, [main, "mcp", "stdio", server.url], { env: { ...home.env, DISPLAY: "" } })
    let stdout = ""
    child.stdout.on("data", (chunk) => (stdout += String(chunk)))
    child.stdin.end(`${line}\n`)
    const [code] = await once(child, "close")
    assert.strictEqual(code, 0)
    const answer = JSON.parse(stdout)
    assert.strictEqual(answer.id, 7)
    assert.include(answer.error.message, `authn mcp login ${server.url}`)
    assert.strictEqual(server.count("authorize"), 0)
  })

  for (const signal of ["SIGTERM", "SIGKILL", "pipe"] as const) {
    it(`ends with its host (${signal}), and the session stays`, async (test) => {
      const { home, server } = await world(test)
      assert.strictEqual((await home.run(["mcp", "login", server.url])).code, 0)
      const child = spawn(process.execPath, [main, "mcp", "stdio", server.url], { env: home.env })
      const line = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" })
      child.stdin.write(`${line}\n`)
      const [first] = await once(child.stdout, "data")
      assert.strictEqual(JSON.parse(String(first)).id, 1)
      const ended = once(child, "close")
      if (signal === "pipe") child.stdin.end()
      else child.kill(signal)
      await ended
      const host = await home.host(server.url)
      assert.strictEqual((await host.client.listTools()).tools.length, 1)
      await host.client.close()
      assert.strictEqual(home.browsers().length, 1)
    })
  }

  it("ends where its host closes the pipe during a sign-in, and is in nobody's way", async (test) => {
    const { home, server } = await world(test)
    const quiet = path.join(home.directory, "quiet")
    fs.mkdirSync(quiet)
    fs.writeFileSync(path.join(quiet, "xdg-open"), "#!/bin/sh\n", { mode: 0o755 })
    const child = spawn(process.execPath, [main, "mcp", "stdio", server.url], {
      env: { ...home.env, PATH: `${quiet}:${home.env["PATH"]}` }
    })
    let stderr = ""
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: {} })}\n`)
    await new Promise<void>((resolve) =>
      child.stderr.on("data", (chunk) => {
        stderr += String(chunk)
        if (stderr.includes("/sign-in/")) resolve()
      })
    )
    child.stdin.end()
    await once(child, "close")
    assert.include(stderr, "the host has closed the pipe")
    const host = await home.host(server.url)
    assert.strictEqual((await host.client.listTools()).tools.length, 1)
    await host.client.close()
    assert.deepStrictEqual([home.browsers().length, server.count("code")], [1, 1])
  })

  it("says what to do about an address at which there is no server", async (test) => {
    const { home, server } = await world(test)
    server.routes.set("/page", (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<p>"))
    const line = `${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: {} })}\n`
    for (
      const [url, code, says] of [
        [`${server.issuer}/page`, 1, /no MCP server at that address.*text\/html/],
        ["http://127.0.0.1:1/mcp", 5, /the server at http:\/\/127.0.0.1:1 cannot be reached: no connection/],
        ["http://mcp.example/mcp", 2, /write https:\/\/mcp.example\/mcp/]
      ] as const
    ) {
      const login = await home.run(["mcp", "login", url])
      assert.strictEqual(login.code, code, url)
      assert.match(login.stderr, says)
      const bridge = await home.run(["mcp", "stdio", url], line)
      assert.match(bridge.stdout + bridge.stderr, code === 1 ? /no MCP server at .*text\/html: check/ : says)
    }
    const empty = await home.run(["mcp", "login", "--client-id", "", server.url])
    assert.strictEqual(empty.code, 2)
    assert.include(empty.stderr, "--client-id")
    assert.include((await home.run(["mcp", "login", "--help"])).stdout, "Which of several sign-ins at a server")
  })

  it("keeps the session where a process is killed in the middle of a renewal", async (test) => {
    const { home, server } = await world(test)
    assert.strictEqual((await home.run(["mcp", "login", server.url])).code, 0)
    server.tokens.clear()
    let arrived: () => void = () => {}
    const asked = new Promise<void>((resolve) => (arrived = resolve))
    // It is asked, and never answers.
    server.routes.set("/token", () => arrived())
    const child = spawn(process.execPath, [main, "mcp", "stdio", server.url], { env: home.env })
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" })}\n`)
    await asked
    child.kill("SIGKILL")
    await once(child, "close")
    server.routes.delete("/token")
    const host = await home.host(server.url)
    assert.strictEqual((await host.client.listTools()).tools.length, 1)
    await host.client.close()
    assert.deepStrictEqual([server.count("refresh"), server.count("refresh refused")], [1, 0])
    assert.strictEqual(home.browsers().length, 1)
  })

  for (const grace of [true, false]) {
    const what = grace
      ? "loses nothing at a server with a grace"
      : "says what is lost, and asks once, under strict rotation"
    it(`killed between the rotation and its answer, with 8 processes after it: ${what}`, async (test) => {
      const { home, server } = await world(test)
      server.grace = grace
      assert.strictEqual((await home.run(["mcp", "login", server.url])).code, 0)
      server.tokens.clear()
      const rotated = new Promise<void>((resolve) => {
        // The refresh token is spent, and nobody hears of the new one.
        server.routes.set("/token", (_request, _response, body) => {
          server.routes.delete("/token")
          const headers = { "content-type": "application/x-www-form-urlencoded" }
          void fetch(`${server.issuer}/token`, { method: "POST", headers, body }).then(() => resolve())
        })
      })
      const ask = (env: Record<string, string>) => {
        const child = spawn(process.execPath, [main, "mcp", "stdio", server.url], { env })
        child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" })}\n`)
        return child
      }
      const victim = ask(home.env)
      await rotated
      victim.kill("SIGKILL")
      await once(victim, "close")
      server.tokens.clear()
      if (!grace) {
        const alone = ask({ ...home.env, DISPLAY: "" })
        const [said] = await once(alone.stdout, "data")
        alone.stdin.end()
        await once(alone, "close")
        assert.include(JSON.parse(String(said)).error.message, "the answer to an earlier renewal was lost")
        assert.strictEqual(home.browsers().length, 1)
      }
      const hosts = await Promise.all(Array.from({ length: 8 }, () => home.host(server.url)))
      await Promise.all(hosts.map(({ client }) => client.callTool(call)))
      await Promise.all(hosts.map(({ client }) => client.close()))
      assert.deepStrictEqual(
        [server.count("refresh"), server.count("refresh refused"), home.browsers().length],
        grace ? [2, 0, 1] : [1, 1, 2]
      )
    })
  }

  it("remembers a client that was given once, and keeps its secret out of what it says", async (test) => {
    const { home, server } = await world(test)
    const canary = "s3cret-canary-of-a-client"
    const args = ["mcp", "login", server.url, "--client-id", "known", "--client-secret-stdin", "--scope", "a b"]
    const signedIn = await home.run(args, `${canary}\n`)
    assert.strictEqual(signedIn.code, 0, signedIn.stderr)
    assert.strictEqual(server.count("register"), 0)
    assert.strictEqual(server.authorizations[0]?.get("client_id"), "known")
    assert.strictEqual(server.authorizations[0]?.get("scope"), "a b")
    const status = await home.run(["mcp", "status"])
    assert.notInclude(signedIn.stdout + signedIn.stderr + status.stdout + status.stderr, canary)
    assert.isTrue(fs.existsSync(path.join(home.directory, "data")))
  })
})
