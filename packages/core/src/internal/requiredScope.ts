import * as Context from "effect/Context"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as Predicate from "effect/Predicate"

/** Scopes that adding APIs, groups and endpoints together never loses. */
export const RequiredScope = Context.Reference<string>("@effect-authn/core/BearerAuth/RequiredScope", {
  defaultValue: () => ""
})

/** The words of a scope (RFC 6749, section 3.3), from a text or from a list of texts. */
export const words = (scope: unknown): ReadonlyArray<string> =>
  (typeof scope === "string" ? scope.split(" ") : Array.isArray(scope) ? scope.filter(Predicate.isString) : [])
    .filter((word) => word !== "")

/** The words that these annotations require, each once. */
export const required = (...annotations: ReadonlyArray<Context.Context<never>>): ReadonlyArray<string> => [
  ...new Set(annotations.flatMap((some) => words(Context.get(some, RequiredScope))))
]

/** Whether what was annotated here kept every scope. It did not where another copy of Effect made it. */
export const keepsScopes = (made: HttpApiGroup.Top | HttpApiEndpoint.Top): boolean => keptMark in made

interface Annotated {
  readonly annotations: Context.Context<never>
  readonly annotate: (this: Annotated, key: Context.Key<unknown, unknown>, value: unknown) => Annotated
  readonly annotateMerge: (this: Annotated, annotations: Context.Context<never>) => Annotated
}

interface Api extends Annotated {
  readonly groups: { readonly [identifier: string]: Annotated }
  readonly add: (this: Api, ...groups: ReadonlyArray<unknown>) => Api
  readonly addHttpApi: (this: Api, api: unknown) => Api
}

const keptMark = "~@effect-authn/core/RequiredScope"

// Effect shows a middleware the group and the endpoint, never the API. And an annotation replaces the one that stood there:
// an endpoint's by `annotateEndpoints`, an API's by that of its group when it is added to another. A scope that is lost lets
// everybody in, so what these methods make has all of them, and a group those of its API.
const keepScopes = (prototype: Annotated): void => {
  const { annotate, annotateMerge } = prototype
  Object.assign(prototype, {
    [keptMark]: true,
    annotate(this: Annotated, key: Context.Key<unknown, unknown>, value: unknown) {
      return key.key === RequiredScope.key
        ? this.annotateMerge(Context.make(key, value))
        : annotate.call(this, key, value)
    },
    annotateMerge(this: Annotated, annotations: Context.Context<never>) {
      const all = required(this.annotations, annotations)
      return annotateMerge.call(
        this,
        all.length === 0 ? annotations : Context.add(annotations, RequiredScope, all.join(" "))
      )
    }
  })
}

const handDown = (prototype: Api): void => {
  const { add, addHttpApi, annotateMerge } = prototype
  const down = (api: Api) =>
    required(api.annotations).length === 0 ? api : Object.assign(api, {
      groups: Object.fromEntries(
        Object.entries(api.groups).map(([identifier, group]) => [
          identifier,
          group.annotate(RequiredScope, required(api.annotations).join(" "))
        ])
      )
    })
  Object.assign(prototype, {
    add(this: Api, ...groups: ReadonlyArray<unknown>) {
      return down(add.apply(this, [...groups]))
    },
    addHttpApi(this: Api, api: unknown) {
      return down(addHttpApi.call(this, api))
    },
    annotateMerge(this: Api, annotations: Context.Context<never>) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it answers with what it was called on
      return down(annotateMerge.call(this, annotations) as Api)
    }
  })
}

const apis: Api = Object.getPrototypeOf(HttpApi.make("api"))
const groups: Annotated = Object.getPrototypeOf(HttpApiGroup.make("group"))
const endpoints: Annotated = Object.getPrototypeOf(HttpApiEndpoint.get("endpoint", "/"))
// Another copy of this module may have been here.
if (!(keptMark in apis)) {
  for (const prototype of [apis, groups, endpoints]) keepScopes(prototype)
  handDown(apis)
}
