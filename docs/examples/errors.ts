import { AuthManager, InteractiveStrategy } from "@effect-authn/core"
import { Effect, Option } from "effect"

/** A token that is valid now, after a login where one is needed; none while the IAM is down. */
export const tokenOrLogin = Effect.gen(function*() {
  const auth = yield* AuthManager.AuthManager
  const login = Effect.andThen(auth.login(InteractiveStrategy.interactive()), auth.token)
  return yield* auth.token.pipe(
    Effect.catchTag(["NotAuthenticated", "ReauthenticationRequired"], () => login),
    Effect.asSome,
    Effect.catchReason("IamError", "Unavailable", ({ detail }) => Effect.as(Effect.logWarning(detail), Option.none()))
  )
})
