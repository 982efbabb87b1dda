/** @since 0.1.0 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Struct from "effect/Struct"
import * as FaultProxy from "../FaultProxy.ts"
import { BadKnobs, LedgerEntry } from "../SimulatorApi.ts"
import type { Reuse } from "./providerStore.ts"

/** What of a provider can be changed while it runs. */
export interface ProviderKnobs extends Reuse {
  readonly tokenLifetime: Duration.Duration
}

export interface Controls {
  readonly proxy: FaultProxy.FaultProxy
  readonly knobs: () => ProviderKnobs
  readonly setKnobs: (changes: Partial<ProviderKnobs>) => void
  readonly reset: () => void
}

/** The routes of a provider, as its ledger shows them and as faults name them. */
export const routes = {
  "/.well-known/openid-configuration": "discovery",
  "/auth": "authorization",
  "/token": "token",
  "/device/auth": "device",
  "/jwks": "jwks",
  "/me": "userinfo",
  "/token/revocation": "revocation",
  "/token/introspection": "introspection",
  "/session/end": "end-session"
}

/** Their names. */
export const routeNames = [...Object.values(routes), "page"]
const kinds = FaultProxy.FaultKind.literals

const isFault = (text: string): text is FaultProxy.Fault => {
  const [route = "", what = "", count = "", ...rest] = text.split(":")
  return rest.length === 0 && routeNames.includes(route) && /^[1-9]\d*$/.test(count) &&
    (kinds.some((kind) => kind === what) || /^[45]\d\d$/.test(what))
}

/** A fault of a provider, as it is written; `FaultProxy.Fault` says what each does. */
export const Fault = Schema.String.pipe(
  Schema.refine(isFault, {
    expected:
      `"<route>:<status|${kinds.join("|")}>:<count>", for example "token:503:1"; a status is 400 to 599, a count ` +
      `at least 1, a route one of ${routeNames.join(", ")}`
  })
)

export const Knobs = Schema.Struct({
  tokenLifetime: Schema.DurationFromString,
  latency: Schema.DurationFromString,
  clockSkew: Schema.DurationFromString,
  fail: Schema.Array(Fault),
  rotation: Schema.Literals(["none", "rotate", "strict"]),
  reuseGrace: Schema.DurationFromString
})

const decodeChanges = Schema.decodeEffect(Schema.fromJsonString(Knobs.mapFields(Struct.map(Schema.optionalKey))), {
  onExcessProperty: "error",
  errors: "all"
})
const encodeKnobs = Schema.encodeEffect(Schema.fromJsonString(Knobs))
const encodeBadKnobs = Schema.encodeEffect(Schema.fromJsonString(BadKnobs))
const encodeLedger = Schema.encodeEffect(Schema.fromJsonString(Schema.Array(Schema.Struct({
  ...LedgerEntry.fields,
  route: Schema.String,
  grant: Schema.optionalKey(Schema.String)
}))))

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const json = (status: number, text: string): FaultProxy.Answer => ({
  status,
  headers: { "content-type": "application/json" },
  body: Buffer.from(text)
})

/** Answers what steers a provider: the same routes and shapes as `SimulatorApi.Control`, with the provider's knobs. */
export const answer = Effect.fnUntraced(function*(
  { body, method, path }: FaultProxy.SteeringRequest,
  controls: Controls
): Effect.fn.Return<FaultProxy.Answer> {
  switch (`${method} ${path}`) {
    case "GET /__simulator/ledger":
      return json(200, yield* Effect.orDie(encodeLedger(yield* controls.proxy.ledger)))
    case "POST /__simulator/reset":
      controls.reset()
      yield* controls.proxy.forget
      yield* controls.proxy.setKnobs({ fail: [], latency: 0, clockSkew: 0 })
      return { status: 204, headers: {}, body: Buffer.alloc(0) }
    case "POST /__simulator/knobs": {
      const decoded = yield* Effect.result(decodeChanges(body === "" ? "{}" : body))
      if (decoded._tag === "Failure") {
        const errors = format(decoded.failure.issue).issues.map(({ message, path }) =>
          path === undefined || path.length === 0 ? message : `${path.map(String).join(".")}: ${message}`
        )
        return json(
          400,
          yield* Effect.orDie(encodeBadKnobs(BadKnobs.make({ success: false, message: "Invalid knobs", errors })))
        )
      }
      const { clockSkew, fail, latency, ...ofProvider } = decoded.success
      controls.setKnobs(ofProvider)
      yield* controls.proxy.setKnobs({
        ...(clockSkew === undefined ? {} : { clockSkew }),
        ...(fail === undefined ? {} : { fail }),
        ...(latency === undefined ? {} : { latency })
      })
      const now = yield* controls.proxy.knobs
      return json(
        200,
        yield* Effect.orDie(encodeKnobs({
          ...controls.knobs(),
          fail: (now.fail ?? []).filter(isFault),
          latency: Duration.fromInputUnsafe(now.latency ?? 0),
          clockSkew: Duration.fromInputUnsafe(now.clockSkew ?? 0)
        }))
      )
    }
    default:
      return json(404, `{"error":"not_found"}`)
  }
})
