import { DueSessions, IamClient, IamError, Selection, SessionKey, TokenStorage } from "@effect-authn/core"
import { ScriptedIam } from "@effect-authn/testing"
import { RestPolicy, Vault, VaultStatus } from "@effect-authn/vault"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Context, DateTime, Effect, Layer, Logger, Redacted, References, Tracer } from "effect"
import { createServer, request } from "node:http"

const issuer = "https://one.example/<b>"
const keyOf = (account: string) => SessionKey.SessionKey.make({ issuer, clientId: "service", account })
const secretOf = (text: string) => Redacted.value(ScriptedIam.password) === text

/** A page over a vault, and a client that may call itself whatever it wants. */
const world = Effect.fnUntraced(function*(host = "127.0.0.1") {
  const iam = yield* Layer.build(ScriptedIam.layer({ issuer, clientId: "service", rotation: "strict" }))
  const stored = yield* Layer.build(Layer.provide(TokenStorage.layerMemory, RestPolicy.layer()))
  const client = Context.get(iam, IamClient.IamClient)
  const built = yield* Layer.build(Layer.provide(
    Vault.layer({ providers: [Layer.succeed(IamClient.IamClient, client)] }),
    Layer.succeedContext(stored)
  ))
  const status = yield* Layer.build(VaultStatus.layer.pipe(
    Layer.provide(Layer.succeedContext(built)),
    Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host }))
  ))
  const { link } = Context.get(status, VaultStatus.VaultStatus)
  const origin = new URL(yield* link).origin
  const get = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    Effect.promise(() =>
      new Promise<{ status: number; text: string; headers: Record<string, string | Array<string> | undefined> }>(
        (resolve, reject) => {
          const sent = request(`${origin}${path}`, { headers, method }, (response) => {
            const chunks: Array<Buffer> = []
            response.on("data", (chunk: Buffer) => chunks.push(chunk))
            response.on("end", () =>
              resolve({
                status: response.statusCode ?? 0,
                text: Buffer.concat(chunks).toString(),
                headers: response.headers
              }))
          })
          sent.on("error", reject)
          sent.end()
        }
      )
    )
  const vault = Context.get(built, Vault.Vault)
  const put = (account: string) =>
    client.login({ _tag: "Password", handle: "ada", password: ScriptedIam.password }, Selection.none).pipe(
      Effect.flatMap((issued) => vault.put(keyOf(account), issued))
    )
  const open = Effect.gen(function*() {
    const path = new URL(yield* link).pathname
    const opened = yield* get(path)
    const [cookie = ""] = opened.headers["set-cookie"] ?? []
    const page = String(opened.headers["location"])
    return { path, opened, page, cookie: cookie.split(";")[0] ?? "", attributes: cookie }
  })
  return {
    vault,
    put,
    get,
    link,
    open,
    origin,
    due: Context.get(stored, DueSessions.DueSessions),
    script: Context.get(iam, ScriptedIam.ScriptedIam)
  }
})

it.live("the status page opens with a link, once, and shows what there is without secrets or markup of others", () =>
  Effect.gen(function*() {
    const { due, get, link, open, origin, put, script, vault } = yield* world()
    assert.strictEqual((yield* get("/")).status, 403)
    assert.strictEqual((yield* get("/open/x")).status, 403)
    assert.strictEqual((yield* get("/open/")).status, 404)
    const { attributes, cookie, opened, page, path } = yield* open
    assert.strictEqual(opened.status, 303)
    // a cookie of this host would be shown to whoever listens at another port of it
    assert.match(page, /^\/[\w-]{43}\/$/)
    assert.include(attributes, `Path=${page};`)
    assert.strictEqual((yield* get("/", { cookie })).status, 403)
    assert.match(attributes, /HttpOnly/)
    assert.match(attributes, /SameSite=Lax/)
    assert.strictEqual((yield* get(path)).status, 403)
    // a page that a browser looks at ahead is not opened by it
    const ahead = new URL(yield* link).pathname
    assert.strictEqual((yield* get(ahead, { "sec-purpose": "prefetch;prerender" })).status, 403)
    assert.strictEqual((yield* get(ahead, {}, "HEAD")).status, 403)
    assert.strictEqual((yield* get(ahead)).status, 303)

    yield* put("<script>alert(1)</script>")
    yield* put("ada & co")
    yield* due.putOff(keyOf("ada & co"), DateTime.makeUnsafe((yield* DateTime.nowAsDate).getTime() - 90_000))
    yield* script.failNext("renew", { reason: new IamError.GrantDead({ detail: "<i>consent</i> was withdrawn" }) })
    yield* Effect.ignore(
      vault.rejected(keyOf("<script>alert(1)</script>"), yield* vault.bearer(keyOf("<script>alert(1)</script>")))
    )
    yield* Effect.sleep("50 millis")
    const { headers, status, text } = yield* get(page, { cookie })
    assert.strictEqual(status, 200)
    assert.include(text, "&#60;script&#62;alert(1)&#60;/script&#62;")
    assert.include(text, "&#60;i&#62;consent&#60;/i&#62; was withdrawn")
    assert.notInclude(text, "<script")
    assert.notInclude(text, "<i>")
    assert.notInclude(text, "/<b>")
    assert.include(text, "1 min 30 s")
    assert.match(text, /<td class="number">1<\/td><td class="number">0<\/td><td class="number">1<\/td>/)
    assert.isFalse(text.split(/\W+/).some(secretOf))
    assert.notMatch(text, /ey[\w-]+\.[\w-]+\./)
    assert.include(`${headers["content-security-policy"]}`, "default-src 'none'")
    assert.strictEqual(headers["cache-control"], "no-store")

    for (const host of ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1"]) {
      assert.strictEqual((yield* get(page, { cookie, host })).status, 421, host)
    }
    assert.strictEqual(
      (yield* get(page, { cookie, host: new URL(origin).host.replace("127.0.0.1", "localhost") })).status,
      200
    )
  }).pipe(Effect.scoped, Effect.provide(Logger.layer([]))))

it.live("no trace and no log has a link of the page, or the cookie of a visit", () =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        seen.push(span.name)
        const attribute = span.attribute.bind(span)
        span.attribute = (key, value) => {
          seen.push(String(value))
          attribute(key, value)
        }
        return span
      }
    })
    const logger = Logger.make(({ message }) => seen.push(String(message)))
    yield* Effect.gen(function*() {
      const { get, open } = yield* world()
      yield* Effect.withSpan(Effect.void, "of this test")
      const { cookie, page, path } = yield* open
      assert.strictEqual((yield* get(page, { cookie })).status, 200)
      const secrets = [path.split("/").at(-1)!, cookie.split("=")[1]!]
      for (const secret of secrets) assert.isFalse(seen.some((text) => text.includes(secret)))
    }).pipe(
      Effect.scoped,
      Effect.provide([
        Logger.layer([logger]),
        Layer.succeed(Tracer.Tracer, tracer),
        Layer.succeed(References.MinimumLogLevel, "All")
      ])
    )
    assert.include(seen, "of this test")
  }))

it.live("the status page is not served to the network", () =>
  Effect.gen(function*() {
    const exit = yield* Effect.exit(Effect.scoped(world("0.0.0.0")))
    assert.include(String(exit), "loopback only")
  }).pipe(Effect.provide(Logger.layer([]))))
