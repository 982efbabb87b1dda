import { Selection, Session, SessionKey } from "@effect-authn/core"
import * as Option from "effect/Option"

export const keyOf = (account: string) =>
  SessionKey.SessionKey.make({ issuer: "https://iam.example/sql", clientId: "tests", account })

/** A session without tokens. */
export const plain = (key: SessionKey.SessionKey, generation: number, strategy = "password") =>
  Session.Session.make({
    key,
    generation,
    durable: true,
    strategy,
    user: Option.none(),
    grant: { _tag: "ExchangeAccessToken" },
    tokens: {},
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })
