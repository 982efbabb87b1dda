/**
 * At which IAM somebody signs in, as which client, and which flags say something to it.
 */
import * as SecureUrl from "@effect-authn/core/SecureUrl"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import * as Failure from "../Failure.ts"
import * as Output from "../Output.ts"
import * as Question from "../Question.ts"
import type * as Settings from "../Settings.ts"
import * as LoginMetadata from "./Metadata.ts"
import * as Way from "./Way.ts"

const dialects: ReadonlyArray<
  { readonly title: string; readonly value: Account.Dialect; readonly description: string }
> = [
  { title: "datalayer", value: "datalayer", description: "a Datalayer-style REST API" },
  { title: "genomcore", value: "genomcore", description: "a Genomcore-style REST API" },
  { title: "oidc", value: "oidc", description: "OAuth 2 and OpenID Connect" }
]

/** What the flags and settings say, with what a person adds; what was used `before` is suggested. */
export const complete = Effect.fnUntraced(function*(
  settings: Settings.Settings,
  metadata: LoginMetadata.LoginMetadata | undefined,
  before: Account.Account | undefined
) {
  const dialect = settings.dialect ?? (metadata === undefined
    ? yield* Way.missing(
      Way.lack.dialect,
      Question.choice(
        "How does the IAM speak?",
        Way.likeLastTime(dialects, before?.dialect)
      )
    )
    : "oidc")
  const issuer = settings.values.issuer?.value ?? metadata?.issuer ??
    (yield* Way.missing(
      Way.lack.issuer,
      Question.line(
        "Address of the IAM",
        (answer) =>
          SecureUrl.mayCarrySecrets(answer)
            ? undefined
            : "write it as https://iam.example.com (http only where the IAM is on this machine)",
        before?.dialect === dialect ? before.issuer : undefined
      )
    ))
  const client = settings.values.client_id?.value ?? (dialect === "oidc"
    ? yield* Way.missing(
      Way.lack.client,
      Question.line("Client id", undefined, before?.issuer === issuer ? before.client : undefined)
    )
    : undefined)
  const target = AccountServices.targetOf(settings, dialect, issuer)
  if (metadata === undefined) return { ...target, client }
  const { endpoints } = yield* LoginMetadata.check(metadata, issuer)
  return { ...target, client, provider: { ...target.provider, metadata: endpoints } }
})

/** Refuses flags that say nothing to this IAM, instead of leaving them out in silence. */
export const checkFlags = Effect.fnUntraced(function*(
  { dialect, provider }: AccountServices.Target,
  given: {
    readonly clientSecretStdin: boolean
    readonly provider: Option.Option<string>
  } & { readonly [F in typeof ofOidc[number]]: Option.Option<string> }
) {
  const foreign = ofOidc.find((name) => Option.isSome(given[name]))
  if (dialect !== "oidc") {
    const flag = given.clientSecretStdin ? "client-secret-stdin" : foreign?.replaceAll("_", "-")
    return flag === undefined
      ? undefined
      : yield* Failure.usage(`--${flag} is for OpenID providers, and this is a ${dialect} IAM`)
  }
  if (Option.isSome(given.provider)) {
    return yield* Failure.usage(
      "--provider is for other IAMs: an OpenID provider is told with a parameter of its own, such as --parameter " +
        `kc_idp_hint=${Output.plain(given.provider.value)}`
    )
  }
  if (given.clientSecretStdin && provider?.clientAuth === "none") {
    return yield* Failure.usage("--client-auth none is for a client without a secret: leave --client-secret-stdin out")
  }
})

const ofOidc = [
  "client_id",
  "scope",
  "audience",
  "resource",
  "prompt",
  "parameter",
  "client_auth",
  "dpop",
  "workload_audience",
  "metadata"
] as const
