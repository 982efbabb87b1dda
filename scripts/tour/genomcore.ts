// The second part: a session that is scoped to a project, that many processes share, and that travels to another machine.
import { GenomcoreClaims } from "@effect-authn/iam-genomcore"
import { Effect, Redacted } from "effect"
import { password } from "./person.ts"
import * as Simulator from "./simulator.ts"
import * as Stage from "./stage.ts"
import type { Terminal } from "./terminal.ts"

const { claim, step } = Stage

const projectId = (token: string) =>
  Effect.orElseSucceed(GenomcoreClaims.projectId(Redacted.make(token.trim())), () => undefined)

export const tour = Effect.fn(function*(issuer: string, terminal: Terminal, other: Terminal) {
  const { authn, authnAtOnce, quietly } = terminal
  const refreshes = Simulator.count(issuer, "refresh")

  yield* step("Another dialect: sign in to an organization")
  yield* authn(
    ["login", "--account", "lab", "--dialect", "genomcore", "--issuer", issuer, "--organization", "acme"].concat(
      ["--handle", "ada", "--password-stdin"]
    ),
    { from: "cat password", input: `${password}\n` }
  )
  yield* authn(["accounts", "use", "lab"])
  const token = (yield* quietly(["token"])).stdout
  yield* authn(["jwt", "decode"], { from: "authn token", input: token })
  const first = yield* projectId(token)
  yield* claim("the token is for the default project", first === 1, `project id ${first}, apollo`)

  yield* step("Move the session to another project")
  const moved = yield* authn(["refresh", "--project", "borealis"])
  const second = yield* projectId((yield* quietly(["token"])).stdout)
  yield* claim("the token is for that project", moved.code === 0 && second === 2, `project id ${second}, borealis`)
  yield* claim("one refresh was sent", (yield* refreshes) === 1, "ledger")

  yield* step("Four processes ask at once for a token that lasts")
  yield* Simulator.setTokenLifetime(issuer, "10 minutes")
  const before = yield* refreshes
  const tokens = yield* authnAtOnce(["token", "--min-ttl", "5m"], { times: 4 })
  const sent = (yield* refreshes) - before
  yield* claim("each got the same token", new Set(tokens.map(({ code, stdout }) => `${code} ${stdout}`)).size === 1)
  yield* claim("the IAM saw one request", sent === 1, `${sent} on the ledger`)

  yield* step("Take the session to another machine")
  const { stdout: document } = yield* quietly(["export"])
  const arrived = yield* other.authn(["import"], { from: "ssh ada@first authn export", input: document })
  yield* claim("it arrived", arrived.code === 0, `exit code ${arrived.code}`)
  const calls = yield* other.authn(["exec", "--", "node", "calls.ts", issuer, "/whoami"])
  yield* claim("its token is accepted", calls.code === 0, `exit code ${calls.code}`)

  yield* step("Verify its token, as an API would")
  const { stdout: imported } = yield* other.quietly(["token"])
  const verified = yield* other.authn(["jwt", "verify", "--jwks", `${issuer}/.well-known/jwks.json`], {
    from: "authn token",
    input: imported
  })
  yield* claim("it is signed with the IAM's published key", verified.code === 0, `exit code ${verified.code}`)
  yield* claim("and is still for that project", (yield* projectId(imported)) === 2, "project id 2")
})
