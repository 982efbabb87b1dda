import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as Option from "effect/Option"

export const keyOf = (account: string): SessionKey.SessionKey =>
  SessionKey.SessionKey.make({ issuer: "https://ada:hunter2@iam.example:8443/realms/acme", clientId: "cli", account })

export const key = keyOf("default")

export const sessionOf = (generation: number, of = key): Session.Session =>
  Session.Session.make({
    key: of,
    generation,
    durable: true,
    // long, so that a write that is cut short shows
    strategy: `generation-${generation}-`.repeat(500),
    user: Option.none(),
    grant: { _tag: "Reissue" },
    tokens: {},
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })
