/**
 * What a way to sign in is, as a strategy.
 */
import { BrowserLogin } from "@effect-authn/core/iam/BrowserLogin"
import { DeviceLogin } from "@effect-authn/core/iam/DeviceLogin"
import * as AuthStrategy from "@effect-authn/core/login/AuthStrategy"
import * as InteractiveStrategy from "@effect-authn/core/login/InteractiveStrategy"
import * as LoginPrompt from "@effect-authn/core/login/LoginPrompt"
import { WorkloadIdentity } from "@effect-authn/core/login/WorkloadIdentity"
import * as NodeLogin from "@effect-authn/platform-node/NodeLogin"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Stdio from "effect/Stdio"
import type * as Account from "../Account.ts"
import type * as AccountServices from "../AccountServices.ts"
import * as Failure from "../Failure.ts"
import * as Input from "../Input.ts"
import * as Output from "../Output.ts"
import * as Question from "../Question.ts"
import * as Way from "./Way.ts"

/** What a login with a person needs of this machine; what is said to the person is said as everything else. */
const desk = Effect.fnUntraced(function*(callback: Account.Callback) {
  const stdio = yield* Effect.context<Stdio.Stdio>()
  const built = yield* Layer.build(NodeLogin.layer(callback))
  const { ask, obstacle } = Context.get(built, LoginPrompt.LoginPrompt)
  return Context.add(built, LoginPrompt.LoginPrompt, {
    ask,
    obstacle,
    show: (notice) => Effect.provideContext(Output.say(LoginPrompt.text(notice)), stdio)
  })
})

/** Where a pasted address ends: nothing listens there, but the IAM has to know it. */
const pastedAt = (
  { host = "127.0.0.1", path = "/callback", ports: [port = 49_321] = [] }: Account.Callback
): string => `http://${host}:${port}${path}`

/** The strategy of a way; what it needs of a person is asked. */
export const make = Effect.fnUntraced(function*(
  chosen: Way.Chosen,
  services: AccountServices.Services,
  callback: Account.Callback,
  handle: string | undefined,
  given: {
    readonly passwordStdin: boolean
    readonly tokenStdin: boolean
    readonly provider: Option.Option<string>
    readonly timeout: Option.Option<number>
  }
) {
  switch (chosen.way) {
    case "password": {
      const password = given.passwordStdin
        ? yield* Input.secret("the password")
        : yield* Way.missing(Way.lack.password, Question.secret(`Password of ${Output.plain(handle ?? "")}`))
      return AuthStrategy.password({ handle: handle ?? "", password })
    }
    case "token":
      return AuthStrategy.token(
        chosen.token ?? (given.tokenStdin ? yield* Input.token : yield* Question.secret("Token"))
      )
    case "browser": {
      const login = Context.getOption(services, BrowserLogin)
      if (Option.isNone(login)) return yield* Failure.usage("this IAM has no browser login")
      const context = Context.merge(
        yield* desk(callback),
        Context.make(BrowserLogin, login.value)
      ).pipe(
        // Where no browser can open, a device code may do.
        Context.merge(services)
      )
      return AuthStrategy.provide(
        InteractiveStrategy.interactive({
          provider: Option.getOrUndefined(given.provider),
          redirectUri: pastedAt(callback),
          // The end of the whole login is this command's.
          ...(Option.isNone(given.timeout) ? {} : { timeLimit: Duration.millis(given.timeout.value + 60_000) })
        }),
        context
      )
    }
    case "device": {
      const login = Context.getOption(services, DeviceLogin)
      if (Option.isNone(login)) return yield* Failure.usage("this IAM has no login with a code")
      return AuthStrategy.provide(
        InteractiveStrategy.device(),
        Context.merge(yield* desk(callback), Context.make(DeviceLogin, login.value))
      )
    }
    case "client credentials":
    case "workload": {
      const { OidcIam } = yield* Effect.promise(() => import("@effect-authn/iam-oidc/OidcIam"))
      const { clientCredentials, workload } = yield* Effect.promise(() => import("@effect-authn/iam-oidc/OidcStrategy"))
      const oidc = Context.getOption(services, OidcIam)
      if (Option.isNone(oidc)) return yield* Failure.usage(`only an OpenID provider has a login by ${chosen.way}`)
      const context = Context.make(OidcIam, oidc.value)
      if (chosen.way !== "workload") return AuthStrategy.provide(clientCredentials(), context)
      const { audience, identity } = chosen
      return AuthStrategy.provide(
        workload({ audience }),
        Context.add(context, WorkloadIdentity, {
          description: identity.source,
          token: () => Effect.succeed(identity)
        })
      )
    }
  }
})
