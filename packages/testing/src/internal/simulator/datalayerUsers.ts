/** @since 0.1.0 */
import type * as DatalayerApi from "@effect-authn/iam-datalayer/DatalayerApi"
import type { Claims } from "./signing.ts"
import { type Account, email } from "./state.ts"

export const uid = (kind: string, number: number): string =>
  `01J0${kind}${`${number}`.padStart(26 - 4 - kind.length, "0")}`
export const uuid = (number: number): string => `00000000-0000-4000-8000-${`${number}`.padStart(12, "0")}`
const capitalised = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1)
const longAgo = "2024-01-01T00:00:00.000Z"

// No field is empty: a client may choke on a missing or empty one, and that is for a test with raw bytes to show.
export const profile = ({ handle, number }: Account): DatalayerApi.Profile => ({
  id: uuid(number),
  uid: uid("U5ER", number),
  handle_s: handle,
  email_s: email(handle),
  first_name_t: capitalised(handle),
  last_name_t: "Example",
  avatar_url_s: `https://example.org/avatars/${encodeURIComponent(handle)}.png`,
  avatar_icon_s: "rocket",
  banner_s: "https://example.org/banner.png",
  roles_ss: ["platform_member"],
  type_s: "user",
  origin_s: "simulator",
  creation_ts_dt: longAgo,
  last_update_ts_dt: longAgo,
  join_request_ts_dt: longAgo,
  join_ts_dt: longAgo,
  credits_i: 100,
  customer_uid: uid("CU5T", number),
  stripe_customer_id_s: `cus_${number}`,
  linked_contact_uid: uid("C0NT", number),
  subscription: { plan: "free" },
  events: [{ type: "join", at: longAgo }],
  settings: { aiagents_url_s: "https://example.org/agents", can_invite_b: true },
  unsubscribed_from_outbounds_b: true,
  mfa_url_s: "otpauth://totp/simulator",
  mfa_secret_s: "none",
  onboarding_s: `{"done":true}`,
  email_token_s: "none",
  email_update_s: email(handle),
  new_password_request_ts_dt: longAgo,
  new_password_confirm_ts_dt: longAgo,
  iam_providers: [{
    iam_provider_name_s: "github",
    linked_account_id_s: `${1000 + number}`,
    linked_account_url_s: `https://example.org/${encodeURIComponent(handle)}`
  }]
})

export const claims = (account: Account): Claims => {
  const { email_s, first_name_t, handle_s, last_name_t, roles_ss, uid } = profile(account)
  return {
    sub: uid,
    roles: roles_ss,
    user: { uid, handle: handle_s, email: email_s, first_name: first_name_t, last_name: last_name_t, roles: roles_ss }
  }
}

const organization = uid("0RG", 1)

export const memberships: ReadonlyArray<typeof DatalayerApi.Membership.Type> = [
  {
    type: "organization",
    id: uuid(1001),
    uid: organization,
    handle: "acme",
    name: "Acme",
    description: "Every user of the simulator belongs to it",
    organization_uid: organization,
    public: false,
    members: 1,
    roles_ss: ["organization_member"]
  },
  {
    type: "team",
    id: uuid(2001),
    uid: uid("TEAM", 1),
    handle: "apollo",
    name: "Apollo",
    description: "A team of Acme",
    organization_uid: organization,
    public: false,
    members: 1,
    roles_ss: ["team_member"]
  }
]
