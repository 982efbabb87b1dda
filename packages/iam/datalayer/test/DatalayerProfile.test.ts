import { User } from "@effect-authn/core"
import { DatalayerProfile } from "@effect-authn/iam-datalayer"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Formatter, Option, Redacted, Result, Schema } from "effect"
import { inspect } from "node:util"

const some = Option.some
const at = (iso: string) => some(DateTime.makeUnsafe(iso))

/** Every field of section 1.5 of the protocol's description, none empty. */
const complete = {
  id: "8f14e45f-ceea-467f-9575-3c1d2a3b4c5d",
  uid: "01HADA",
  handle_s: "ada",
  email_s: "ada@example.com",
  first_name_t: "Ada",
  last_name_t: "Lovelace",
  avatar_url_s: "https://example.com/ada.png",
  avatar_icon_s: "owl",
  banner_s: "https://example.com/banner.png",
  roles_ss: ["platform_member", "platform_admin"],
  type_s: "user",
  origin_s: "github",
  creation_ts_dt: "2024-01-02T03:04:05Z",
  last_update_ts_dt: "2024-02-02T03:04:05.678Z",
  join_ts_dt: "2024-03-02T03:04:05Z",
  join_request_ts_dt: "2024-04-02T03:04:05Z",
  credits_i: 42,
  customer_uid: "01HCUSTOMER",
  stripe_customer_id_s: "cus_1",
  subscription: { plan: "pro" },
  settings: { aiagents_url_s: "https://agents.example.com", can_invite_b: true },
  unsubscribed_from_outbounds_b: false,
  onboarding_s: `{"step":3}`,
  mfa_url_s: "otpauth://totp/SECRET-A",
  mfa_secret_s: "SECRET-B",
  email_token_s: "SECRET-C",
  email_update_s: "new@example.com",
  new_password_request_ts_dt: "2024-05-02T03:04:05Z",
  new_password_confirm_ts_dt: "2024-06-02T03:04:05Z",
  linked_contact_uid: "01HCONTACT",
  events: [{ kind: "joined" }],
  iam_providers: [
    {
      iam_ProviderName: "github",
      linkedAccount: "{'login': 'ada', 'key': 'SECRET-D'}",
      linkedAccountUrl: "https://github.com/ada",
      linkedAccountId: "1"
    },
    { iam_provider_name_s: "okta", linked_account_id_s: "2", linked_account_url_s: "https://okta.example.com/ada" }
  ]
}

const user = (raw: unknown) => Result.getOrThrow(DatalayerProfile.toUser(raw))

describe("DatalayerProfile", () => {
  it("maps every field of the protocol", () => {
    const { emailToken, iamProviders, mfaSecret, mfaUrl, ...rest } = DatalayerProfile.fromUser(user(complete))
    assert.deepStrictEqual(rest, {
      id: some(complete.id),
      uid: some("01HADA"),
      handle: some("ada"),
      email: some("ada@example.com"),
      firstName: some("Ada"),
      lastName: some("Lovelace"),
      avatarUrl: some("https://example.com/ada.png"),
      avatarIcon: some("owl"),
      banner: some("https://example.com/banner.png"),
      roles: ["platform_member", "platform_admin"],
      type: some("user"),
      origin: some("github"),
      createdAt: at("2024-01-02T03:04:05Z"),
      lastUpdatedAt: at("2024-02-02T03:04:05.678Z"),
      joinedAt: at("2024-03-02T03:04:05Z"),
      joinRequestedAt: at("2024-04-02T03:04:05Z"),
      credits: some(42),
      customerUid: some("01HCUSTOMER"),
      stripeCustomerId: some("cus_1"),
      subscription: some({ plan: "pro" }),
      settings: { aiAgentsUrl: some("https://agents.example.com"), canInvite: some(true) },
      unsubscribedFromOutbounds: some(false),
      onboarding: some({ step: 3 }),
      emailUpdate: some("new@example.com"),
      newPassword: {
        request: DateTime.makeUnsafe("2024-05-02T03:04:05Z"),
        confirm: DateTime.makeUnsafe("2024-06-02T03:04:05Z")
      },
      linkedContactUid: some("01HCONTACT"),
      events: [{ kind: "joined" }]
    })
    assert.deepStrictEqual(
      [mfaUrl, mfaSecret, emailToken, iamProviders[0]!.account].map(Option.map(Redacted.value)),
      [complete.mfa_url_s, complete.mfa_secret_s, complete.email_token_s, complete.iam_providers[0]!.linkedAccount].map(
        Option.fromNullishOr
      )
    )
    assert.deepStrictEqual(iamProviders.map(({ accountId, accountUrl, name }) => ({ name, accountId, accountUrl })), [
      { name: some("github"), accountId: some("1"), accountUrl: some("https://github.com/ada") },
      { name: some("okta"), accountId: some("2"), accountUrl: some("https://okta.example.com/ada") }
    ])
  })

  it("shows none of its secrets", () => {
    for (const value of [user(complete), DatalayerProfile.fromUser(user(complete))]) {
      const shown = `${Formatter.format(value)}${JSON.stringify(value)}${
        inspect(value, { depth: null, showHidden: true })
      }`
      assert.notInclude(shown, "SECRET-")
    }
  })

  it("makes core's User, and keeps the profile whole", () => {
    const made = user(complete)
    assert.strictEqual(made.id, "01HADA")
    assert.deepStrictEqual(made.handle, some("ada"))
    assert.deepStrictEqual(made.displayName, some("Ada Lovelace"))
    assert.deepStrictEqual(made.roles, complete.roles_ss)
    assert.deepStrictEqual<unknown>(Redacted.value(made.profile), complete)
  })

  it.effect("survives storage", () =>
    Effect.gen(function*() {
      const codec = Schema.fromJsonString(Schema.toCodecJson(User.User))
      const stored = yield* Schema.encodeEffect(codec)(user(complete))
      const read = yield* Schema.decodeEffect(codec)(stored)
      assert.deepStrictEqual(DatalayerProfile.fromUser(read), DatalayerProfile.fromUser(user(complete)))
    }))

  it("reads the unsuffixed names of the other clients, where the suffixed are missing, null or empty", () => {
    const plain = {
      handle: "ada",
      email: "ada@example.com",
      first_name: "Ada",
      last_name: "Lovelace",
      avatar_url: "https://example.com/a.png"
    }
    for (
      const suffixed of [{}, {
        handle_s: null,
        email_s: null,
        first_name_t: null,
        last_name_t: null,
        avatar_url_s: null
      }, { handle_s: "", email_s: " ", first_name_t: "", last_name_t: "", avatar_url_s: "" }]
    ) {
      const made = user({ uid: "u", ...plain, ...suffixed })
      assert.deepStrictEqual(made.handle, some("ada"))
      assert.deepStrictEqual(made.email, some("ada@example.com"))
      assert.deepStrictEqual(made.displayName, some("Ada Lovelace"))
      assert.deepStrictEqual(made.avatarUrl, some("https://example.com/a.png"))
    }
    assert.deepStrictEqual(user({ uid: "u", handle_s: "suffixed", handle: "plain" }).handle, some("suffixed"))
  })

  it("names the user by uid, else id, else handle", () => {
    assert.strictEqual(user({ uid: "u", id: "i", handle_s: "h" }).id, "u")
    assert.strictEqual(user({ uid: "", id: "i", handle_s: "h" }).id, "i")
    assert.strictEqual(user({ uid: null, id: 7, handle_s: "h" }).id, "h")
  })

  it("shows the handle where there is no name, and nothing where there is neither", () => {
    assert.deepStrictEqual(
      user({ uid: "u", handle_s: "ada", first_name_t: "", last_name_t: "" }).displayName,
      some("ada")
    )
    assert.deepStrictEqual(user({ uid: "u", last_name_t: "Lovelace" }).displayName, some("Lovelace"))
    assert.deepStrictEqual(user({ uid: "u" }).displayName, Option.none())
  })

  it("takes what is odd for absent", () => {
    const odd = DatalayerProfile.fromRaw({
      uid: "u",
      roles_ss: [1, "member", null, ""],
      join_ts_dt: "yesterday",
      join_request_ts_dt: null,
      credits_i: "12",
      settings: "none",
      onboarding_s: "{",
      unsubscribed_from_outbounds_b: "true",
      events: {},
      iam_providers: ["github", {}],
      mfa_secret_s: "",
      subscription: null
    })
    assert.deepStrictEqual(odd.roles, ["member"])
    assert.deepStrictEqual(odd.credits, some(12))
    assert.deepStrictEqual(odd.unsubscribedFromOutbounds, some(true))
    for (const absent of [odd.joinedAt, odd.joinRequestedAt, odd.onboarding, odd.mfaSecret, odd.subscription]) {
      assert.deepStrictEqual<unknown>(absent, Option.none())
    }
    assert.deepStrictEqual(odd.settings, { aiAgentsUrl: Option.none(), canInvite: Option.none() })
    assert.deepStrictEqual(odd.events, [])
    assert.strictEqual(odd.iamProviders.length, 1)
  })

  it("is Malformed when it names nobody", () => {
    for (const raw of [null, undefined, [], "ada", 7, {}, { uid: "", id: null, handle_s: "  " }, { email_s: "a@b" }]) {
      const result = DatalayerProfile.toUser(raw)
      assert.isTrue(Result.isFailure(result) && result.failure._tag === "Malformed")
    }
  })

  it.prop("never throws, whatever comes", [Schema.Unknown], ([raw]) => {
    DatalayerProfile.toUser(raw)
  })

  it.prop(
    "never throws, whatever a field holds",
    [Schema.Literals(Object.keys(complete)), Schema.Json],
    ([field, value]) => {
      const result = DatalayerProfile.toUser({ ...complete, [field]: value })
      return Result.isSuccess(result) && DatalayerProfile.fromUser(result.success) !== undefined
    }
  )

  it.effect("a profile of ten thousand levels is read, too", () =>
    Effect.sync(() => {
      const deep: unknown = JSON.parse(`${"[".repeat(10_000)}${"]".repeat(10_000)}`)
      assert.strictEqual(user({ ...complete, events: deep }).id, "01HADA")
    }))
})
