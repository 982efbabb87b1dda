/** @since 0.1.0 */
import * as BearerAuth from "@effect-authn/core/BearerAuth"
import * as GenomcoreApi from "@effect-authn/iam-genomcore/GenomcoreApi"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Bearer from "./bearer.ts"
import { issues } from "./requests.ts"
import { type Account, email, type Holder, type Project, SimulatorState } from "./state.ts"

class Authorization extends HttpApiMiddleware.Service<Authorization, { provides: Bearer.Bearer }>()(
  "@effect-authn/testing/internal/simulator/genomcore/Authorization",
  {
    security: BearerAuth.security,
    error: Bearer.refusals((statusCode, message) => ({ message, statusCode, details: [] }))
  }
) {}

class Strict extends HttpApiMiddleware.Service<Strict>()(
  "@effect-authn/testing/internal/simulator/genomcore/Strict",
  { error: GenomcoreApi.BadRequest }
) {}

const Api = HttpApi.make("genomcore").add(
  GenomcoreApi.Public.middleware(Strict),
  GenomcoreApi.Protected.middleware(Strict).middleware(Authorization)
)

const unauthorized = (message: string) => GenomcoreApi.Unauthorized.make({ message, statusCode: 401, details: [] })

const StrictLayer = HttpApiMiddleware.layerSchemaErrorTransform(
  Strict,
  (error) =>
    Effect.fail(
      error.kind === "Body"
        ? error
        : GenomcoreApi.BadRequest.make({ message: "Invalid request", statusCode: 400, details: issues(error) })
    )
)

const organization = { id: 1, slug: "acme", platformId: 1 }
const apollo: Project = { id: 1, slug: "apollo" }
const projects: ReadonlyArray<Project> = [apollo, { id: 2, slug: "borealis" }]

// Callers name a project by its slug or its number; a token has the number.
const projectNamed = (name: string): Project | undefined =>
  projects.find((project) => project.slug === name || `${project.id}` === name)

const PublicLayer = HttpApiBuilder.group(
  Api,
  "public",
  Effect.fnUntraced(function*(handlers) {
    const state = yield* SimulatorState

    const pair = (account: Account, project: Project, refreshToken: Redacted.Redacted | undefined) =>
      Effect.map(
        state.issue({ account, project }, {
          sub: `${account.number}`,
          email: email(account.handle),
          preferred_username: account.handle,
          platformId: organization.platformId,
          organizationId: organization.id,
          projectId: project.id
        }),
        (token): typeof GenomcoreApi.Pair.Type => ({
          token,
          ...(refreshToken === undefined ? {} : { refreshToken }),
          user: {
            id: account.number,
            email: email(account.handle),
            platformId: organization.platformId,
            organizationId: organization.id
          }
        })
      )

    const scopeOf = ({ project }: Holder): Project =>
      state.knobs().bareRefresh === "keep" && project !== undefined ? project : apollo

    return handlers.handleAll({
      login: Effect.fnUntraced(function*({ payload, request }) {
        const account = state.account(payload.username)
        if (account === undefined) {
          return yield* GenomcoreApi.NotFound.make({ message: "Unknown user", statusCode: 404, details: [] })
        }
        if (Redacted.value(account.password) !== Redacted.value(payload.password)) {
          return yield* unauthorized("Wrong password")
        }
        state.annotate(request, { subject: account.handle })
        const project = payload.project === undefined ? apollo : projectNamed(payload.project)
        if (payload.organization !== organization.slug || project === undefined) {
          return yield* GenomcoreApi.Forbidden.make({
            message: "No access to this organization or project",
            statusCode: 403,
            details: []
          })
        }
        return yield* pair(account, project, state.issueRefresh(account))
      }),
      refresh: Effect.fnUntraced(function*({ payload, request }) {
        const holder = state.known(payload.token)
        const presented = state.refresh(payload.refreshToken)
        if (holder === undefined || presented === undefined || holder.account !== presented.account) {
          return yield* unauthorized("Invalid token or refresh token")
        }
        const { account } = presented
        const { omitRefreshToken, rotation } = state.knobs()
        state.annotate(request, { subject: account.handle })
        if (presented.spent) {
          if (rotation === "strict") {
            state.killFamily(presented.family)
            state.annotate(request, { note: "reuse" })
          }
          return yield* unauthorized("This refresh token was used before")
        }
        const project = payload.project === undefined ? scopeOf(holder) : projectNamed(payload.project)
        if (project === undefined) {
          return yield* GenomcoreApi.NotFound.make({ message: "Unknown project", statusCode: 404, details: [] })
        }
        if (omitRefreshToken) return yield* pair(account, project, undefined)
        if (rotation === "none") return yield* pair(account, project, payload.refreshToken)
        presented.spent = true
        return yield* pair(account, project, state.issueRefresh(account, presented.family))
      })
    })
  })
)

const ProtectedLayer = HttpApiBuilder.group(
  Api,
  "protected",
  (handlers) =>
    handlers.handle(
      "echo",
      ({ request }) =>
        Effect.succeed({
          authorization: Redacted.make(request.headers["authorization"] ?? "", { label: "authorization" })
        })
    )
)

export const layer = HttpApiBuilder.layer(Api).pipe(
  Layer.provide([PublicLayer, ProtectedLayer]),
  Layer.provide([Bearer.layerFor(Authorization), StrictLayer])
)
