import { AuthManager, LoginPrompt, Nap, Session, SessionKeeper, TokenStorage } from "@effect-authn/core"
import { OidcIam } from "@effect-authn/iam-oidc"
import { NodeCallbackServer } from "@effect-authn/platform-node"
import { OidcProvider, ScriptedUserAgent } from "@effect-authn/testing"
import { Context, Effect, Layer, Option, Queue, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"

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

const withoutScheduler = Layer.succeed(Nap.Nap, () => Effect.never)

export type ProviderOf = (provider: OidcProvider.OidcProvider["Service"]) => Partial<OidcIam.Options>

export const oidc = (options: ProviderOf = () => ({})) =>
  Layer.unwrap(
    Effect.map(OidcProvider.OidcProvider, (provider) =>
      OidcIam.layer({ issuer: provider.issuer, clientId: provider.publicClient.id, ...options(provider) }))
  ).pipe(
    Layer.provide(FetchHttpClient.layer)
  )

/** A provider, a program that signs in to it, and a person with a browser. */
export const setup = (
  options?: ProviderOf,
  provider?: OidcProvider.Options
) =>
  program.pipe(
    Layer.provide(withoutScheduler),
    Layer.provideMerge(oidc(options)),
    Layer.provideMerge(Layer.mergeAll(
      OidcProvider.layer(provider),
      TokenStorage.layerMemory,
      NodeCallbackServer.layer(),
      ScriptedUserAgent.layerBrowser(answers),
      person
    ))
  )

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
