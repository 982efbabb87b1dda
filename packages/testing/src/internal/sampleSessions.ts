/** @since 0.1.0 */
import * as Selection from "@effect-authn/core/session/Selection"
import * as Session from "@effect-authn/core/session/Session"
import * as SessionKey from "@effect-authn/core/session/SessionKey"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as User from "@effect-authn/core/session/User"
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

export const canary = "canary-7d1f"

export const keyOf = (account: string, issuer = "https://iam.example/suite"): SessionKey.SessionKey =>
  SessionKey.SessionKey.make({ issuer, clientId: "suite", account })

const instant = (millis: number) => DateTime.makeUnsafe(millis)

const tokensOf = (text: string) =>
  TokenSet.TokenSet.make({
    accessToken: Redacted.make(text, { label: "access_token" }),
    tokenType: "Bearer",
    issuedAt: instant(1_700_000_000_000),
    expiresAt: Option.some(instant(1_700_003_600_000)),
    idToken: Option.none(),
    scope: Option.none()
  })

export const plain = (key: SessionKey.SessionKey, generation: number, token = "access"): Session.Session =>
  Session.Session.make({
    key,
    generation,
    durable: true,
    strategy: "password",
    user: Option.none(),
    grant: { _tag: "ExchangeAccessToken" },
    tokens: { [Selection.id(Selection.none)]: tokensOf(token) },
    current: Selection.none,
    dead: Option.none(),
    intent: Option.none()
  })

export const full = (key: SessionKey.SessionKey, generation: number): Session.Session => {
  const project = Selection.make({
    organization: "acme",
    project: "apollo & co/1",
    resource: "https://a.example",
    scope: "b a"
  })
  return Session.Session.make({
    key,
    generation,
    durable: true,
    strategy: "password",
    user: Option.some(User.User.make({
      id: "01H",
      handle: Option.some("ada"),
      displayName: Option.some("Ada \u{1F680} Łovelace\n\"quoted\""),
      firstName: Option.some("Ada"),
      lastName: Option.some("Łovelace"),
      email: Option.some("ada@example.org"),
      avatarUrl: Option.some("https://example.org/a.png"),
      roles: ["platform_member", ""],
      profile: Redacted.make({ nested: { list: [1, null, "x", { deep: true }] }, empty: "" }, { label: "profile" })
    })),
    grant: {
      _tag: "RefreshToken",
      refreshToken: Redacted.make(`refresh-${canary}`, { label: "refresh_token" })
    },
    tokens: {
      [Selection.id(Selection.none)]: tokensOf(`access-${canary}`),
      [Selection.id(project)]: TokenSet.TokenSet.make({
        accessToken: Redacted.make("x".repeat(5000), { label: "access_token" }),
        tokenType: "DPoP",
        issuedAt: instant(0),
        expiresAt: Option.none(),
        idToken: Option.some(Redacted.make("id", { label: "id_token" })),
        scope: Option.some("a b")
      })
    },
    current: project,
    dead: Option.some(Session.Tombstone.make({ at: instant(1), cause: "invalid_grant", answerLost: true })),
    intent: Option.some(Session.Intent.make({ at: instant(2), selection: project, holder: "pid 1" }))
  })
}

// Parts that a storage could confuse once they are joined, escaped, normalised, folded or used as a path.
export const lookAlikes = [
  ["https://iam.example", "a", "b"],
  ["https://iam.example/", "a", "b"],
  ["https://iam.example/a", "b", "c"],
  ["https://iam.example", "a/b", "c"],
  ["https://iam.example", "a", "b/c"],
  ["https://iam.example", "A", "b"],
  ["https://iam.example", "b", "a"],
  ["https://iam.example", "a", "b "],
  ["https://iam.example", "a", "b."],
  ["https://iam.example", "a", ".."],
  ["https://iam.example", "..", "a"],
  ["https://iam.example", "a", "../b"],
  ["https://iam.example", "a", "%2E%2E"],
  ["https://iam.example", "a", "b%2Fc"],
  ["https://iam.example", "a", "b\\c"],
  ["https://iam.example", "a", "b:c"],
  ["https://iam.example", "a:b", "c"],
  ["https://iam.example", "a", "b\u0000c"],
  ["https://iam.example", "a", "b\nc"],
  ["https://iam.example", "a", "\u00e9"],
  ["https://iam.example", "a", "e\u0301"],
  ["https://iam.example", "a", "\u{1F680}"],
  ["https://iam.example", "a", "__proto__"],
  ["https://iam.example", "a", "constructor"],
  ["https://iam.example", "a", "*"],
  ["https://iam.example", "a", "l".repeat(300)],
  ["https://iam.example", "a", "l".repeat(301)]
] as const

type KeyFields = typeof SessionKey.SessionKey.Encoded

// What a storage might do to a key that is not its own name for it: each makes another key that looks the same.
export const confusions: { readonly [name: string]: (key: KeyFields) => Partial<KeyFields> } = {
  case: ({ account }) => ({ account: account.toUpperCase() }),
  composed: ({ account }) => ({ account: account.normalize("NFC") }),
  decomposed: ({ account }) => ({ account: account.normalize("NFD") }),
  escaped: ({ account }) => ({ account: encodeURIComponent(account) }),
  trimmed: ({ account }) => ({ account: account.trim() }),
  resolved: ({ account }) => ({ account: `x/../${account}` }),
  shifted: ({ account, clientId }) => ({ clientId: `${clientId}/${account}`, account: "default" }),
  swapped: ({ account, clientId }) => ({ clientId: account, account: clientId }),
  foreign: ({ issuer }) => ({ issuer: `${issuer}/` })
}

const Part = Schema.NonEmptyArray(
  Schema.Literals(["a", "Z", "/", "..", ".", " ", "%2F", "\\", "\u00e9", "e\u0301", "\u0000"])
)
export const Parts = Schema.Struct({ client: Part, account: Part, confusion: Schema.Literals(Object.keys(confusions)) })
