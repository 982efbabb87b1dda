/**
 * Who a user is, in the words of a Datalayer-style IAM.
 *
 * The wire names have Solr-style suffixes (`handle_s`, `first_name_t`, `roles_ss`, `join_ts_dt`); they are left off here.
 * Nothing but a name for the user is required: every other field may be missing, null, empty or odd, and is then absent.
 *
 * @since 0.1.0
 */
import { Malformed } from "@effect-authn/core/iam/IamError"
import * as User from "@effect-authn/core/session/User"
import type * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Lenient from "./internal/lenient.ts"

/**
 * An account at another provider that the user has linked. `account` is what that provider told, as text.
 *
 * @category models
 * @since 0.1.0
 */
export interface LinkedProvider {
  readonly name: Option.Option<string>
  readonly accountId: Option.Option<string>
  readonly accountUrl: Option.Option<string>
  readonly account: Option.Option<Redacted.Redacted>
}

/**
 * Everything that a profile may tell. `newPassword` has the times of a password change under way, by the name of its
 * step (`new_password_{step}_ts_dt`). What can be used to sign in is redacted.
 *
 * @category models
 * @since 0.1.0
 */
export interface DatalayerProfile {
  readonly id: Option.Option<string>
  readonly uid: Option.Option<string>
  readonly handle: Option.Option<string>
  readonly email: Option.Option<string>
  readonly firstName: Option.Option<string>
  readonly lastName: Option.Option<string>
  readonly avatarUrl: Option.Option<string>
  readonly avatarIcon: Option.Option<string>
  readonly banner: Option.Option<string>
  readonly roles: ReadonlyArray<string>
  readonly type: Option.Option<string>
  readonly origin: Option.Option<string>
  readonly createdAt: Option.Option<DateTime.Utc>
  readonly lastUpdatedAt: Option.Option<DateTime.Utc>
  readonly joinedAt: Option.Option<DateTime.Utc>
  readonly joinRequestedAt: Option.Option<DateTime.Utc>
  readonly credits: Option.Option<number>
  readonly customerUid: Option.Option<string>
  readonly stripeCustomerId: Option.Option<string>
  readonly subscription: Option.Option<Schema.Json>
  readonly settings: { readonly aiAgentsUrl: Option.Option<string>; readonly canInvite: Option.Option<boolean> }
  readonly unsubscribedFromOutbounds: Option.Option<boolean>
  readonly onboarding: Option.Option<Schema.Json>
  readonly mfaUrl: Option.Option<Redacted.Redacted>
  readonly mfaSecret: Option.Option<Redacted.Redacted>
  readonly emailToken: Option.Option<Redacted.Redacted>
  readonly emailUpdate: Option.Option<string>
  readonly newPassword: { readonly [step: string]: DateTime.Utc }
  readonly linkedContactUid: Option.Option<string>
  readonly events: ReadonlyArray<Schema.Json>
  readonly iamProviders: ReadonlyArray<LinkedProvider>
}

/**
 * Reads a profile as it came, without ever failing.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromRaw = (raw: Schema.JsonObject): DatalayerProfile => {
  const { object, text, time } = Lenient
  const settings = Option.getOrElse(object(raw, "settings"), () => ({}))
  return {
    id: text(raw, "id"),
    uid: text(raw, "uid"),
    handle: text(raw, "handle_s", "handle"),
    email: text(raw, "email_s", "email"),
    firstName: text(raw, "first_name_t", "first_name"),
    lastName: text(raw, "last_name_t", "last_name"),
    avatarUrl: text(raw, "avatar_url_s", "avatar_url"),
    avatarIcon: text(raw, "avatar_icon_s"),
    banner: text(raw, "banner_s"),
    roles: Lenient.texts(raw, "roles_ss", "roles"),
    type: text(raw, "type_s"),
    origin: text(raw, "origin_s"),
    createdAt: time(raw, "creation_ts_dt"),
    lastUpdatedAt: time(raw, "last_update_ts_dt"),
    joinedAt: time(raw, "join_ts_dt"),
    joinRequestedAt: time(raw, "join_request_ts_dt"),
    credits: Lenient.integer(raw, "credits_i"),
    customerUid: text(raw, "customer_uid"),
    stripeCustomerId: text(raw, "stripe_customer_id_s"),
    subscription: Lenient.json(raw, "subscription"),
    settings: { aiAgentsUrl: text(settings, "aiagents_url_s"), canInvite: Lenient.flag(settings, "can_invite_b") },
    unsubscribedFromOutbounds: Lenient.flag(raw, "unsubscribed_from_outbounds_b"),
    onboarding: Lenient.jsonText(raw, "onboarding_s"),
    mfaUrl: Lenient.secret(raw, "mfa_url_s"),
    mfaSecret: Lenient.secret(raw, "mfa_secret_s"),
    emailToken: Lenient.secret(raw, "email_token_s"),
    emailUpdate: text(raw, "email_update_s"),
    newPassword: Object.fromEntries(
      Object.keys(raw).flatMap((name) => {
        const step = /^new_password_(\w+)_ts_dt$/.exec(name)?.[1]
        const at = time(raw, name)
        return step !== undefined && Option.isSome(at) ? [[step, at.value]] : []
      })
    ),
    linkedContactUid: text(raw, "linked_contact_uid"),
    events: Lenient.list(raw, "events"),
    // The two existing clients do not agree on the names.
    iamProviders: Lenient.objects(raw, "iam_providers").map((provider) => ({
      name: text(provider, "iam_provider_name_s", "iam_ProviderName"),
      accountId: text(provider, "linked_account_id_s", "linkedAccountId"),
      accountUrl: text(provider, "linked_account_url_s", "linkedAccountUrl"),
      account: Lenient.secret(provider, "linkedAccount")
    }))
  }
}

/**
 * Reads a profile into core's `User`, which keeps it whole in `profile`. The user's `id` is the `uid`, by which the
 * IAM's own routes name a user; else the `id`, else the handle. A value with none of the three is no profile.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toUser = (raw: unknown): Result.Result<User.User, Malformed> => {
  if (!isObject(raw)) return Result.fail(new Malformed({ detail: "the profile is missing, or no JSON object" }))
  const profile = fromRaw(raw)
  const id = Option.firstSomeOf([profile.uid, profile.id, profile.handle])
  if (Option.isNone(id)) return Result.fail(new Malformed({ detail: "the profile has neither uid nor id nor handle" }))
  const { avatarUrl, email, firstName, handle, lastName, roles } = profile
  const name = [firstName, lastName].flatMap(Option.toArray).join(" ").trim()
  return Result.succeed(User.User.make({
    id: id.value,
    handle,
    displayName: name === "" ? handle : Option.some(name),
    firstName,
    lastName,
    email,
    avatarUrl,
    roles,
    profile: Redacted.make(raw, { label: "profile" })
  }))
}

const isObject = Schema.is(Schema.JsonObject)

/**
 * The profile that a `User` of this dialect came from.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromUser = (user: User.User): DatalayerProfile => fromRaw(Redacted.value(user.profile))
