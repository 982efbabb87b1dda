/**
 * The table of IAMs of a vault: a file without a secret.
 */
import type { IamClient } from "@effect-authn/core/iam/IamClient"
import type { IamError } from "@effect-authn/core/iam/IamError"
import type { RefreshPolicy } from "@effect-authn/core/session/RefreshPolicy"
import * as SecretFile from "@effect-authn/platform-node/SecretFile"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Toml from "effect/encoding/Toml"
import type * as FileSystem from "effect/FileSystem"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Stdio from "effect/Stdio"
import * as Path from "node:path"
import * as Account from "../Account.ts"
import { failed, type Failure, usage } from "../Failure.ts"
import * as Input from "../Input.ts"
import * as TimeSpan from "../TimeSpan.ts"
import * as Store from "./Store.ts"

/** One IAM, ready to be built. */
export type Provider = Layer.Layer<IamClient, Failure, HttpClient.HttpClient>

/** The IAMs, and how many renewals a second each of them gets from the whole fleet, where that is limited. */
export interface Table {
  readonly providers: ReadonlyArray<Provider>
  readonly perSecond: ReadonlyMap<string, number>
  /** How long an IAM answers a refresh token again, in seconds, by issuer. */
  readonly reuseGrace: ReadonlyMap<string, number>
}

// A blank at its end would be a part of the name, which nobody sees.
const Name = Schema.NonEmptyString.check(Schema.isTrimmed())

const fields = {
  dialect: Account.Dialect,
  issuer: Name,
  client: Schema.optionalKey(Name),
  scopes: Schema.optionalKey(Schema.Union([Schema.String, Schema.Array(Schema.String)])),
  client_secret_file: Schema.optionalKey(Schema.NonEmptyString),
  reuse_grace: Schema.optionalKey(Schema.String),
  per_second: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThan(0)))
}
type Entry = Schema.Schema.Type<Schema.Struct<typeof fields>>

const decode = Schema.decodeUnknownEffect(Schema.Struct(fields))
const decodeName = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.String))
const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

// A renewal has to end before the lease of its session does, and callers wait for 8 seconds.
const policy = { timeLimit: Duration.seconds(10), spread: 0.8 }

const example = `write, for example:\n[calendar]\ndialect = "oidc"\nissuer = "https://id.example.com"\n` +
  `client = "my-service"\nscopes = "openid offline_access"\nclient_secret_file = "calendar.secret"`

/** The first name that an object of a JSON text has twice, of which a reader of JSON takes the last without a word. */
const repeatedIn = (json: string): string | undefined => {
  const open: Array<Set<string>> = []
  for (const [found, name, isMember] of json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}]/g)) {
    if (found === "{") open.push(new Set())
    else if (found === "}") open.pop()
    else if (isMember !== undefined) {
      const text = Option.getOrUndefined(decodeName(name))
      if (text === undefined) continue
      if (open.at(-1)?.has(text) === true) return text
      open.at(-1)?.add(text)
    }
  }
  return undefined
}

/** The table in the words of a file: TOML, or JSON where the file's name says so. */
const read = Effect.fnUntraced(function*(path: string) {
  const text = yield* Effect.mapError(Input.file(path), ({ detail }) => usage(`--providers: ${detail}; ${example}`))
  const isJson = /\.json$/i.test(path)
  const parsed = isJson
    ? Result.fromOption(decodeJson(text), () => "it is no JSON")
    : Result.mapError(Toml.parse(text), ({ message }) => `it is no TOML: ${message}`)
  if (Result.isFailure(parsed)) return yield* usage(`${path}: ${parsed.failure}; ${example}`)
  const repeated = isJson ? repeatedIn(text) : undefined
  if (repeated !== undefined) {
    return yield* usage(`${path}: "${repeated}" stands there twice: give each a name of its own`)
  }
  if (!Predicate.isObject(parsed.success) || Array.isArray(parsed.success)) {
    return yield* usage(`${path} is no table of IAMs; ${example}`)
  }
  return Object.entries(parsed.success)
})

const entryOf = Effect.fnUntraced(function*(path: string, name: string, value: unknown) {
  const place = `${path}, [${name}]`
  if (!Predicate.isObject(value)) return yield* usage(`${place}: an IAM is a table of its own; ${example}`)
  for (const key of Object.keys(value)) {
    if (Object.hasOwn(fields, key)) continue
    return yield* usage(
      /secret|password|token$/.test(key)
        ? `${place}: a secret never stands in this table: write it to a file, and its name as client_secret_file`
        : `${place}: there is no "${key}", but ${Object.keys(fields).join(", ")}`
    )
  }
  return yield* Effect.mapError(decode(value), ({ message }) => usage(`${place}: ${message.replaceAll("\n", " ")}`))
})

const secretOf = Effect.fnUntraced(function*(place: string, file: string) {
  const read = yield* Effect.mapError(
    SecretFile.read(file),
    ({ message }) => usage(`${place}: the secret's file cannot be read: ${message}`)
  )
  const secret = Redacted.value(read)
  yield* Store.warnIfOpen(file, `${place}: `)
  return /[\r\n\0]/.test(secret)
    ? yield* usage(`${place}: ${file} has to hold the client's secret alone, on one line`)
    : Redacted.make(secret, { label: "client_secret" })
})

const layerOf = Effect.fnUntraced(function*(path: string, name: string, entry: Entry) {
  const place = `${path}, [${name}]`
  const { client, client_secret_file, dialect, issuer, reuse_grace, scopes } = entry
  const grace = reuse_grace === undefined ? 0 : TimeSpan.parse(reuse_grace)
  if (grace === undefined) return yield* usage(`${place}: reuse_grace is a span as 30s or 2m`)
  const ours: Partial<RefreshPolicy> = { ...policy, reuseGrace: Duration.seconds(grace) }
  if (dialect !== "oidc" && (client_secret_file !== undefined || scopes !== undefined || client !== undefined)) {
    return yield* usage(`${place}: client, scopes and client_secret_file are for the dialect oidc`)
  }
  // What is wrong with an address is told when the dialect is built.
  const placed = (layer: Layer.Layer<IamClient, IamError, HttpClient.HttpClient>): Provider =>
    Layer.effectContext(
      Effect.mapError(
        Layer.build(layer),
        ({ method, reason }) =>
          method === "configure" ? usage(`${place}: ${reason.message}`) : failed(`${place}: ${reason.message}`)
      )
    )
  switch (dialect) {
    case "datalayer": {
      const DatalayerIam = yield* Effect.promise(() => import("@effect-authn/iam-datalayer/DatalayerIam"))
      return placed(DatalayerIam.layer({ issuer, policy: ours }))
    }
    case "genomcore": {
      const GenomcoreIam = yield* Effect.promise(() => import("@effect-authn/iam-genomcore/GenomcoreIam"))
      return placed(GenomcoreIam.layer({ host: issuer, policy: ours }))
    }
    case "oidc": {
      if (client === undefined) return yield* usage(`${place}: an OpenID provider needs a client`)
      const OidcIam = yield* Effect.promise(() => import("@effect-authn/iam-oidc/OidcIam"))
      const secret = client_secret_file === undefined
        ? undefined
        : yield* secretOf(place, Path.resolve(Path.dirname(path), client_secret_file))
      return placed(OidcIam.layer({
        issuer,
        clientId: client,
        policy: ours,
        ...(scopes === undefined
          ? {}
          : { scopes: typeof scopes === "string" ? scopes.split(/\s+/).filter(Boolean) : scopes }),
        clientAuthentication: secret === undefined ? { method: "none" } : { method: "client_secret", secret }
      }))
    }
  }
})

/**
 * The IAMs that a file names.
 */
export const load = Effect.fnUntraced(function*(
  path: string
): Effect.fn.Return<Table, Failure, FileSystem.FileSystem | Stdio.Stdio> {
  const providers: Array<Provider> = []
  const perSecond = new Map<string, number>()
  const reuseGrace = new Map<string, number>()
  const known = new Set<string>()
  for (const [name, value] of yield* read(path)) {
    const entry = yield* entryOf(path, name, value)
    // The REST dialects call an IAM by its origin.
    const issuer = entry.dialect === "oidc" ? entry.issuer : URL.parse(entry.issuer)?.origin ?? entry.issuer
    const of = [entry.dialect, issuer, entry.client].join("\n")
    if (known.has(of)) return yield* usage(`${path}, [${name}]: this IAM and client are in the table already`)
    known.add(of)
    providers.push(yield* layerOf(path, name, entry))
    const grace = entry.reuse_grace === undefined ? undefined : TimeSpan.parse(entry.reuse_grace) ?? 0
    for (
      const [field, told, of] of [["per_second", entry.per_second, perSecond], [
        "reuse_grace",
        grace,
        reuseGrace
      ]] as const
    ) {
      if (told === undefined) continue
      // it is the IAM's, whichever client asks
      if ((of.get(issuer) ?? told) !== told) {
        return yield* usage(
          `${path}, [${name}]: ${field} of ${issuer} stands there already as another one: give one of them`
        )
      }
      of.set(issuer, told)
    }
  }
  return providers.length === 0
    ? yield* usage(`${path} names no IAM; ${example}`)
    : { providers, perSecond, reuseGrace }
})
