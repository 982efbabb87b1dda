/**
 * The ways to sign in: which of them the flags name, which an IAM has, and what is missing for one.
 */
import type { IamError } from "@effect-authn/core/iam/IamError"
import { type Identity, toIamError } from "@effect-authn/core/login/WorkloadIdentity"
import type * as Prompt from "effect/cli/Prompt"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import * as Account from "../Account.ts"
import type * as AccountServices from "../AccountServices.ts"
import * as Failure from "../Failure.ts"
import * as Input from "../Input.ts"
import * as Output from "../Output.ts"
import * as Platform from "../Platform.ts"
import * as Question from "../Question.ts"
import type * as Settings from "../Settings.ts"
import type * as LoginMetadata from "./Metadata.ts"

export type Way = "password" | "token" | "browser" | "device" | "client credentials"

const allWays: ReadonlyArray<Way> = ["password", "token", "browser", "device", "client credentials"]

export const ways: { readonly [D in Account.Dialect]: ReadonlyArray<Way> } = {
  datalayer: ["password", "browser", "token"],
  genomcore: ["password", "token"],
  oidc: ["browser", "device", "client credentials", "token"]
}

/** The ways that the flags name. */
export const named = (given: {
  readonly handle: Option.Option<string>
  readonly passwordStdin: boolean
  readonly tokenStdin: boolean
  readonly browser: boolean
  readonly device: boolean
  readonly clientSecretStdin: boolean
}): ReadonlyArray<Way> => {
  const found: Array<Way> = []
  if (Option.isSome(given.handle) || given.passwordStdin) found.push("password")
  if (given.tokenStdin) found.push("token")
  if (given.browser) found.push("browser")
  if (given.device) found.push("device")
  if (found.length === 0 && given.clientSecretStdin) found.push("client credentials")
  return found
}

const explanation: { readonly [W in Way]: string } = {
  "password": "name and password",
  "token": "a token or API key that I paste",
  "browser": "my browser",
  "device": "a code on another device",
  "client credentials": "the client's own secret"
}

export const option: { readonly [W in Way]: string } = {
  "password": "--handle NAME (with --password-stdin where there is no terminal)",
  "token": "--token-stdin",
  "browser": "--browser",
  "device": "--device",
  "client credentials": "--client-secret-stdin"
}

/** Asks a person for what is missing, and tells everybody else what it is. */
export const missing = Effect.fnUntraced(function*<A, E, R>(what: string, prompt: Effect.Effect<A, E, R>) {
  if (yield* Input.hasPerson) return yield* prompt
  return yield* Failure.usage(`${what}\nSee: authn login --help`)
})

export const lack = {
  dialect: `no dialect: give --dialect ${Account.Dialect.literals.join("|")}`,
  issuer: "no issuer: give --issuer URL",
  client: "no client: give --client-id ID",
  handle: "no name: give --handle NAME",
  password: "no password: there is no terminal to ask at, so give --password-stdin",
  organization: "no organization: give --organization ID",
  way: (known: ReadonlyArray<Way>) => `no way to sign in: give ${known.map((way) => option[way]).join(", or ")}`
}

/** Everything that is missing where there is nobody to ask. */
export const lacking = (
  { dialect, values }: Settings.Settings,
  given: { readonly handle: Option.Option<string>; readonly passwordStdin: boolean },
  metadata: LoginMetadata.LoginMetadata | undefined,
  found: ReadonlyArray<Way>,
  mayDoWithout: boolean
): ReadonlyArray<string> => {
  const spoken = dialect ?? (metadata === undefined ? undefined : "oidc")
  const isByPassword = found[0] === "password"
  return [
    ...(spoken === undefined ? [lack.dialect] : []),
    ...(values.issuer === undefined && metadata === undefined ? [lack.issuer] : []),
    ...(spoken === "oidc" && values.client_id === undefined ? [lack.client] : []),
    ...(found.length === 0 && !(spoken === "oidc" && mayDoWithout)
      ? [lack.way(spoken === undefined ? allWays : ways[spoken])]
      : []),
    ...(isByPassword && Option.isNone(given.handle) ? [lack.handle] : []),
    ...(isByPassword && !given.passwordStdin ? [lack.password] : []),
    ...(isByPassword && spoken === "genomcore" && values.organization === undefined ? [lack.organization] : [])
  ]
}

/** The choices, with that of the last login in front. */
export const likeLastTime = <A, Choice extends { readonly value: A; readonly title: string }>(
  choices: ReadonlyArray<Choice>,
  last: A | undefined
): ReadonlyArray<Choice> => choices.toSorted((one, other) => Number(other.value === last) - Number(one.value === last))

/** A way, and the token where that is chosen with it; or the platform that says who this program is. */
export type Chosen =
  | { readonly way: Way; readonly token?: Redacted.Redacted }
  | { readonly way: "workload"; readonly audience: string; readonly identity: Identity }

/** What the platform that runs this program says, which is asked only where an audience is configured. */
export const machine = Effect.fnUntraced(function*({ issuer, provider }: AccountServices.Target) {
  if (provider?.workload === undefined) return {}
  const asked = yield* Platform.ask(provider.workload.audience)
  if (Result.isSuccess(asked)) {
    const chosen: Chosen = { way: "workload", audience: provider.workload.audience, identity: asked.success }
    return { chosen }
  }
  const { failure } = asked
  // One that is there and broken is for somebody to mend: nobody takes its place.
  return failure.reason._tag === "WorkloadAbsent"
    ? { absent: failure.reason.detail }
    : yield* toIamError({ issuer, method: "login" }, failure)
})

/** What other clients of the IAM keep on this machine. It is read to be offered, and sent only when it is chosen. */
const foreignSessions = Effect.fnUntraced(function*(issuer: string) {
  const { find } = yield* Effect.promise(() => import("@effect-authn/iam-datalayer/DatalayerForeignSessions"))
  const Keychain = yield* Effect.promise(() => import("@effect-authn/storage-keyring/Keychain"))
  const keychain = Context.get(yield* Layer.build(Keychain.layer()), Keychain.Keychain)
  const short = yield* Output.short
  return (yield* find({ issuer, keychain: keychain.get })).map(({ isOfIssuer, place, token }) => ({
    title: `the session of another client, in ${short(place)}${isOfIssuer ? "" : " (perhaps of another IAM)"}`,
    value: { way: "token" as const, token }
  }))
}, Effect.scoped)

/** The way that is taken: that of the flags, else the client's secret, else what a person chooses. */
export const choose = Effect.fnUntraced(function*(
  { dialect, issuer }: AccountServices.Target,
  found: ReadonlyArray<Way>,
  hasSecret: boolean,
  last: string | undefined,
  absent: string | undefined
): Effect.fn.Return<
  Chosen,
  Failure.Failure | IamError | Terminal.QuitError,
  FileSystem.FileSystem | Prompt.Environment | Stdio.Stdio
> {
  const known = ways[dialect]
  const [way] = found
  if (way !== undefined) {
    if (known.includes(way)) return { way }
    return yield* Failure.usage(
      `a ${dialect} IAM has no login by ${way}: give ${known.map((way) => option[way]).join(", or ")}`
    )
  }
  if (hasSecret) return { way: "client credentials" }
  return yield* missing(
    `${lack.way(known)}${
      absent === undefined ? "" : `\nnor is this a machine that a platform knows: ${Output.plain(absent)}`
    }`,
    Effect.flatMap(
      dialect === "datalayer" ? foreignSessions(issuer) : Effect.succeed([]),
      (others) =>
        Question.choice<Chosen>("Sign in with", [
          ...likeLastTime(known.map((way) => ({ title: explanation[way], value: way })), last)
            .map(({ title, value }) => ({ title, value: { way: value } })),
          ...others
        ])
    )
  )
})
