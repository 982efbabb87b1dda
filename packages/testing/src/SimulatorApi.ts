/**
 * How to steer the IAM simulator and to see what it saw: the knobs, the ledger, and the routes that serve them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Struct from "effect/Struct"

/**
 * The names of the simulator's routes, as the ledger shows them and as a `fail` knob takes them. A name means every path
 * that does the same: `login` both paths of the Datalayer-style IAM and the one of the Genomcore-style IAM.
 *
 * - both dialects: `login`
 * - Datalayer-style: `logout`, `whoami`, `me`, `auth`, `ping`, `memberships`, `authz-url`, `tokens`
 *   (also `api-keys`)
 * - Genomcore-style: `refresh`, `echo` (`GET /whoami`)
 * - `jwks`: `GET /.well-known/jwks.json`
 *
 * The ledger also knows `preflight` (a browser's `OPTIONS`) and `unknown`.
 *
 * @category models
 * @since 0.1.0
 */
export const Route = Schema.Literals([
  "login",
  "logout",
  "whoami",
  "me",
  "auth",
  "ping",
  "memberships",
  "authz-url",
  "tokens",
  "refresh",
  "echo",
  "jwks"
])

/**
 * The type of the schema `Route`.
 *
 * @category models
 * @since 0.1.0
 */
export type Route = typeof Route.Type

const decodeRoute = Schema.decodeUnknownOption(Route)
const decodeEffect = Schema.decodeUnknownOption(
  Schema.Union([
    Schema.Literals(["drop", "html", "hang", "lost"]),
    Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 400, maximum: 599 }))
  ])
)
const decodeCount = Schema.decodeUnknownOption(Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThan(0)))

const faultForm = `"<route>:<status|drop|html|hang|lost>:<count>", for example "login:503:1"; ` +
  `a status is 400 to 599, a count at least 1, a route one of ${Route.literals.join(", ")}`

/**
 * What the next `count` requests of a route meet instead of an answer, written `<route>:<what>:<count>`:
 *
 * - a status from 400 to 599: an error answer in the dialect's shape;
 * - `drop`: the connection is cut, and nothing was done;
 * - `lost`: what was asked for is done, and then the connection is cut;
 * - `html`: 200 with a page of HTML;
 * - `hang`: no answer, ever.
 *
 * @category models
 * @since 0.1.0
 */
export const Fault = Schema.String.pipe(
  Schema.decodeTo(
    Schema.Struct({
      route: Route,
      what: Schema.Union([Schema.Literals(["drop", "html", "hang", "lost"]), Schema.Int]),
      count: Schema.Int
    }),
    SchemaTransformation.transformEffect({
      decode: (text: string) => {
        const [route, what, count, ...rest] = text.split(":")
        const parsed = Option.all({ route: decodeRoute(route), what: decodeEffect(what), count: decodeCount(count) })
        return Option.isSome(parsed) && rest.length === 0
          ? Effect.succeed(parsed.value)
          : Effect.fail(new SchemaIssue.InvalidValue({ expected: faultForm }))
      },
      encode: ({ count, route, what }) => Effect.succeed(`${route}:${what}:${count}`)
    })
  )
)

/**
 * The type of the schema `Fault`.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault = typeof Fault.Type

/**
 * What can be changed while the simulator runs:
 *
 * - `tokenLifetime`: of access tokens issued from now on. Their `exp` is a whole second, rounded up.
 * - `latency`: how long after acting on a request the answer is sent.
 * - `clockSkew`: how far the simulator's clock is ahead (negative: behind); it shows in `iat`, `exp` and `Date`.
 * - `fail`: the faults that are still to come.
 * - `rotation` of refresh tokens: `none` keeps them; `rotate` answers with a new one and refuses the old one; `strict`
 *   also revokes the whole family when it sees an old one again (and notes `reuse` in the ledger).
 * - `bareRefresh`: whether a refresh that names no project keeps the project of the access token (`keep`), or falls back
 *   to the default project (`reset`).
 * - `omitRefreshToken`: refreshes answer without a refresh token, and the old one stays good.
 * - `successStatus`: the status of a successful login or refresh.
 *
 * @category models
 * @since 0.1.0
 */
export const Knobs = Schema.Struct({
  tokenLifetime: Schema.DurationFromString,
  latency: Schema.DurationFromString,
  clockSkew: Schema.DurationFromString,
  fail: Schema.Array(Fault),
  rotation: Schema.Literals(["none", "rotate", "strict"]),
  bareRefresh: Schema.Literals(["keep", "reset"]),
  omitRefreshToken: Schema.Boolean,
  successStatus: Schema.Literals([200, 201])
})

/**
 * The type of the schema `Knobs`.
 *
 * @category models
 * @since 0.1.0
 */
export type Knobs = typeof Knobs.Type

/**
 * Some of the knobs.
 *
 * @category models
 * @since 0.1.0
 */
export const KnobChanges = Knobs.mapFields(Struct.map(Schema.optionalKey))

/**
 * One request, as the simulator saw it. It holds no secret: no query, no body, no header.
 *
 * - `at` is the arrival by the machine's clock, without the skew.
 * - `subject` is the handle of the user who was recognised.
 * - `status` is 0 as long as no answer was sent: forever, where a fault forbade it or the client left.
 * - `authorization` tells whether there was an `Authorization` header.
 * - `note`: the fault that was played, or `reuse` of a spent refresh token under strict rotation.
 *
 * @category models
 * @since 0.1.0
 */
export const LedgerEntry = Schema.Struct({
  at: Schema.DateTimeUtcFromString,
  method: Schema.String,
  path: Schema.String,
  route: Schema.Union([Route, Schema.Literals(["preflight", "unknown"])]),
  subject: Schema.optionalKey(Schema.String),
  status: Schema.Int,
  authorization: Schema.Boolean,
  note: Schema.optionalKey(Schema.String)
})

/**
 * The type of the schema `LedgerEntry`.
 *
 * @category models
 * @since 0.1.0
 */
export type LedgerEntry = typeof LedgerEntry.Type

/**
 * 400: the knobs are not as they should be; `errors` has why.
 *
 * @category errors
 * @since 0.1.0
 */
export class BadKnobs extends Schema.Error<BadKnobs>("@effect-authn/testing/SimulatorApi/BadKnobs")(
  { success: Schema.Literal(false), message: Schema.String, errors: Schema.Array(Schema.String) },
  { httpApiStatus: 400 }
) {}

/**
 * The routes that steer the simulator, under `/__simulator`. They meet no fault and no latency, and are not in the
 * ledger. Changed knobs are answered with all knobs; `fail` replaces the faults that were still to come.
 *
 * @category contracts
 * @since 0.1.0
 */
export const Control = HttpApiGroup.make("control").add(
  HttpApiEndpoint.get("ledger", "/ledger", { success: Schema.Array(LedgerEntry) }),
  HttpApiEndpoint.post("knobs", "/knobs", { payload: KnobChanges, success: Knobs, error: BadKnobs }),
  HttpApiEndpoint.post("reset", "/reset")
).prefix("/__simulator")

/**
 * The public key of the simulator's tokens, as a JWK set (RFC 7517).
 *
 * @category contracts
 * @since 0.1.0
 */
export const Keys = HttpApiGroup.make("keys").add(
  HttpApiEndpoint.get("jwks", "/.well-known/jwks.json", {
    success: Schema.Struct({ keys: Schema.Array(Schema.Record(Schema.String, Schema.Json)) })
  })
)

/**
 * What the simulator serves beside the two dialects.
 *
 * @category contracts
 * @since 0.1.0
 */
export const SimulatorApi = HttpApi.make("simulator").add(Control, Keys)
