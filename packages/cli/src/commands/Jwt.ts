/**
 * `authn jwt`.
 */
import * as Jwks from "@effect-authn/core/jwt/Jwks"
import * as JwtCodec from "@effect-authn/core/jwt/JwtCodec"
import * as TokenSet from "@effect-authn/core/session/TokenSet"
import * as NodeAuth from "@effect-authn/platform-node/NodeAuth"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Failure, usage } from "../Failure.ts"
import * as Input from "../Input.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as TimeSpan from "../TimeSpan.ts"

const times = new Set(["exp", "iat", "nbf", "auth_time", "updated_at"])
const encodeValue = Schema.encodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

const show = Effect.fnUntraced(function*(members: JwtCodec.JsonObject) {
  const now = DateTime.toEpochMillis(yield* DateTime.now)
  return yield* Effect.forEach(Object.entries(members), ([name, value]) =>
    Effect.gen(function*() {
      const at = times.has(name) ? TokenSet.timeFrom(value) : Option.none()
      if (Option.isSome(at)) {
        const millis = DateTime.toEpochMillis(at.value)
        return [
          Output.plain(name),
          `${Output.time(at.value)} (${TimeSpan.distance(millis, now)})`
        ]
      }
      return [
        Output.plain(name),
        Output.plain(typeof value === "string" ? value : yield* Effect.orDie(encodeValue(value)))
      ]
    }))
})

const decodeJson = Schema.decodeUnknownEffect(Schema.Json)

const print = Effect.fnUntraced(function*(header: JwtCodec.JsonObject, claims: JwtCodec.JsonObject, verdict: string) {
  if (yield* Settings.JsonFlag) {
    return yield* Output.json(yield* Effect.orDie(decodeJson({ header, claims })))
  }
  const { bold } = yield* Output.paint("stdout")
  const width = yield* Output.columns
  yield* Output.out(
    bold("Header"),
    ...Output.table(yield* show(header), width, "  "),
    bold("Claims"),
    ...Output.table(yield* show(claims), width, "  ")
  )
  yield* Output.say(verdict)
})

const decode = Command.make("decode", {}, () =>
  Effect.gen(function*() {
    const decoded = yield* Effect.fromResult(JwtCodec.decodeUnverified(Redacted.value(yield* Input.token)))
    yield* print(decoded.header, decoded.claims, "Not verified: anybody could have written this.")
  })).pipe(Command.withDescription("Show what a token on the standard input says, without verifying it"))

const decodeJwk = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown)))

const optional = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const algorithms = JwtCodec.Algorithm.literals.filter((name) => !name.startsWith("HS"))

const verify = Command.make("verify", {
  jwks: optional("jwks", "URL", "The issuer's key set (https, or this machine)"),
  key: optional("key", "FILE", "A public key: PEM or JWK"),
  issuer: optional("issuer", "NAME", "The issuer that must be the token's"),
  audience: optional("audience", "NAME", "The audience that the token must be meant for"),
  tolerance: Flag.String("tolerance").pipe(
    Flag.withMetavar("SPAN"),
    Flag.withDescription("How far the clocks may differ: 30, 30s, 1m"),
    Flag.withDefault("0")
  )
}, (given) =>
  Effect.gen(function*() {
    const tolerance = TimeSpan.parse(given.tolerance)
    if (tolerance === undefined) return yield* usage("--tolerance is written 30, 30s or 1m")
    if (Option.isSome(given.jwks) === Option.isSome(given.key)) return yield* usage("give --jwks URL or --key FILE")
    const token = yield* Input.token
    const source = Option.isSome(given.jwks)
      ? { jwks: yield* Effect.mapError(Jwks.remote(given.jwks.value), ({ message }) => usage(message)) }
      : yield* Effect.gen(function*() {
        const path = Option.getOrElse(given.key, () => "")
        const text = yield* Input.file(path)
        if (!text.trimStart().startsWith("{")) return { key: text }
        return { key: yield* Effect.mapError(decodeJwk(text), () => usage(`${path} is neither PEM nor JWK`)) }
      })
    const codec = yield* JwtCodec.make
    const { header, payload } = yield* codec.verify(token, {
      ...source,
      algorithms,
      issuer: Option.getOrUndefined(given.issuer),
      audience: Option.getOrUndefined(given.audience),
      clockTolerance: `${tolerance} seconds`
    }).pipe(
      Effect.catchReason(
        "JwtError",
        "JwksUnavailable",
        (_, { message }) => Effect.fail(new Failure({ exitCode: 5, detail: message }))
      )
    )
    const { green } = yield* Output.paint("stderr")
    yield* print(header, payload, `${green("✓")} The signature, the times and everything you asked for hold.`)
    // The command is the entry point.
    // oxlint-disable-next-line effecttsgo/strict-effect-provide
  }).pipe(Effect.provide(NodeAuth.layerHttpClient))).pipe(
    Command.withDescription("Verify a token on the standard input")
  )

/**
 * Reads tokens.
 */
export const command = Command.make("jwt").pipe(
  Command.withDescription("Show or verify a token"),
  Command.withSubcommands([decode, verify])
)
