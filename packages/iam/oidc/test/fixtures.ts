import {
  AuthManager,
  type AuthStrategy,
  BackgroundSleep,
  type Browser,
  type BrowserLogin,
  type CallbackServer,
  type DeviceLogin,
  InteractiveStrategy,
  LoginPrompt,
  Session,
  SessionKeeper,
  TokenSet,
  TokenStorage
} from "@effect-authn/core"
import { OidcIam, type OidcOptions } from "@effect-authn/iam-oidc"
import { FileTokenStorage, NodeCallbackServer } from "@effect-authn/platform-node"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { Context, DateTime, Duration, Effect, Layer, Option, Queue, Redacted, Struct } from "effect"
import { FetchHttpClient } from "effect/http"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"

/** What a person is told, and what is typed in answer. */
export class Person extends Context.Service<Person, {
  readonly told: Queue.Queue<LoginPrompt.Notice>
  readonly answers: Queue.Queue<string>
}>()("@effect-authn/iam-oidc/test/fixtures/Person") {}

export const person = Layer.effectContext(Effect.gen(function*() {
  const told = yield* Queue.unbounded<LoginPrompt.Notice>()
  const answers = yield* Queue.unbounded<string>()
  const prompt = LoginPrompt.LoginPrompt.of({
    obstacle: Effect.succeedNone,
    show: (notice) => Effect.asVoid(Queue.offer(told, notice)),
    ask: (notice) =>
      Effect.andThen(
        Queue.offer(told, notice),
        Effect.map(Queue.take(answers), (line) => Option.some(Redacted.make(line)))
      )
  })
  return Context.make(LoginPrompt.LoginPrompt, prompt).pipe(Context.add(Person, Person.of({ told, answers })))
}))

export const answers = { login: "ada", password: "any" }

/** One program: manager and keeper over whatever IAM and storage are there. */
export const program = Layer.fresh(AuthManager.layer()).pipe(Layer.provideMerge(Layer.fresh(SessionKeeper.layer)))

const withoutScheduler = Layer.succeed(BackgroundSleep.BackgroundSleep, () => Effect.never)

export type ProviderOf = (provider: OidcProvider.OidcProvider["Service"]) => Partial<OidcOptions.OidcOptions>

export const oidc = (options: ProviderOf = () => ({})) =>
  Layer.unwrap(
    Effect.map(OidcProvider.OidcProvider, (provider) =>
      OidcIam.layer({ issuer: provider.issuer, clientId: provider.publicClient.id, ...options(provider) }))
  ).pipe(
    Layer.provide(FetchHttpClient.layer)
  )

const desk = Layer.mergeAll(NodeCallbackServer.layer(), ScriptedUserAgent.layerBrowser(answers), person)

/** A provider, a program that signs in to it, and a person with a browser. */
export const setup = (
  options?: ProviderOf,
  provider?: OidcProvider.Options
) =>
  program.pipe(
    Layer.provide(withoutScheduler),
    Layer.provideMerge(oidc(options)),
    Layer.provideMerge(Layer.mergeAll(OidcProvider.layer(provider), TokenStorage.layerMemory, desk))
  )

/** The same over files, which other processes share. */
export const filed = (directory: string, options?: ProviderOf) =>
  Layer.fresh(program).pipe(
    Layer.provide(withoutScheduler),
    Layer.provideMerge(oidc(options)),
    Layer.provideMerge(Layer.mergeAll(FileTokenStorage.layer({ directory }), desk))
  )

/** What the person does with the notice of a kind, when it comes. */
const on = <Tag extends LoginPrompt.Notice["_tag"], A, E, R>(
  tag: Tag,
  act: (notice: Extract<LoginPrompt.Notice, { readonly _tag: Tag }>) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const { told } = yield* Person
    while (true) {
      const notice = yield* Queue.take(told)
      if (notice._tag === tag) return yield* act(notice as never)
    }
  })

export const visit = (url: string, options?: ScriptedUserAgent.Options) =>
  Effect.provide(ScriptedUserAgent.make().visit(url, options), FetchHttpClient.layer)

const enterCode = on(
  "EnterCode",
  ({ verificationUriComplete }) => visit(Option.getOrThrow(verificationUriComplete), { answers })
)

const pasteCallback = on("PasteCallback", ({ url }) =>
  Effect.gen(function*() {
    const page = yield* visit(url, { answers, stopAt: (url) => url.pathname === "/callback" })
    yield* Queue.offer((yield* Person).answers, `  ${page.url}\n`)
  }))

export type Needs =
  | Browser.Browser
  | BrowserLogin.BrowserLogin
  | CallbackServer.CallbackServer
  | DeviceLogin.DeviceLogin
  | LoginPrompt.LoginPrompt

/** The ways in which a person signs in, and what they do for it. */
export const logins: Record<string, {
  readonly strategy: AuthStrategy.AuthStrategy<Needs>
  readonly acts: Effect.Effect<unknown, Error, Person>
}> = {
  browser: { strategy: InteractiveStrategy.browser(), acts: Effect.void },
  device: { strategy: InteractiveStrategy.device(), acts: enterCode },
  manual: { strategy: InteractiveStrategy.manual(), acts: pasteCallback }
}

export const login = Effect.flatMap(AuthManager.AuthManager, (auth) => auth.login(InteractiveStrategy.browser()))

/** For `age`: a minute ago. */
export const expired = Duration.minutes(-1)

/** Moves the end of the stored access tokens to `left` from now; they were issued an hour ago. The provider knows nothing of it. */
export const age = Effect.fnUntraced(function*(left: Duration.Input) {
  const storage = yield* TokenStorage.TokenStorage
  const { key } = yield* AuthManager.AuthManager
  const session = Option.getOrThrow(yield* storage.get(key))
  const now = yield* DateTime.now
  const tokens = Object.fromEntries(
    Object.entries(session.tokens).map(([id, held]) => [
      id,
      TokenSet.TokenSet.make(Struct.assign(held, {
        issuedAt: DateTime.subtract(now, { hours: 1 }),
        expiresAt: Option.some(DateTime.addDuration(now, left))
      }))
    ])
  )
  const generation = Session.nextGeneration(session.generation, now)
  yield* storage.put(key, Session.update(session, { tokens, generation }), session.generation)
  return session
})

/** `children/renewer.ts` in a process of its own, and what it says to an order. */
export const renewer = Effect.fnUntraced(function*(directory: string, setup: {
  readonly lock?: "unlocked" | undefined
  readonly environment: { readonly [name: string]: string }
}) {
  const running = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        process.execPath,
        [join(import.meta.dirname, "children", "renewer.ts"), directory, setup.lock ?? "locked"],
        {
          env: {
            ...process.env,
            ...setup.environment,
            // most of a child's life is the compilation of its imports
            NODE_COMPILE_CACHE: join(import.meta.dirname, "../node_modules/.cache/compile")
          },
          stdio: ["pipe", "pipe", "inherit"]
        }
      )
    ),
    (running) => Effect.sync(() => running.kill("SIGKILL"))
  )
  const lines = createInterface(running.stdout)[Symbol.asyncIterator]()
  const line = Effect.promise(() => lines.next()).pipe(
    Effect.map((next) => next.done === true ? "the process ended" : next.value)
  )
  const tell = (order: "token" | "logout") => Effect.andThen(Effect.sync(() => running.stdin.write(`${order}\n`)), line)
  return { ready: line, tell }
})

export const grants = Effect.gen(function*() {
  const { proxy } = yield* OidcProvider.OidcProvider
  return (yield* proxy.ledger).flatMap(({ grant }) => grant === undefined ? [] : [grant])
})

export const tokenOf = (session: Session.Session) =>
  Option.match(Session.currentToken(session), {
    onNone: () => "",
    onSome: ({ accessToken }) => Redacted.value(accessToken)
  })

export const refreshTokenOf = ({ grant }: Session.Session) =>
  grant._tag === "RefreshToken" ? Redacted.value(grant.refreshToken) : undefined
