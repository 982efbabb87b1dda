/** @since 0.1.0 */
import * as DatalayerApi from "@effect-authn/iam-datalayer/DatalayerApi"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import { Bearer } from "./bearer.ts"
import { Api, done } from "./datalayerContract.ts"
import { claims, uid, uuid } from "./datalayerUsers.ts"
import { type Account, type ApiTokenRecord, SimulatorState } from "./state.ts"

const handlers = Effect.map(SimulatorState, (state) => {
  const mine = (account: Account): ReadonlyArray<ApiTokenRecord> =>
    [...state.apiTokens().values()].filter((record) => record.account === account)

  const one = (wanted: string) =>
    Effect.gen(function*() {
      const { account } = yield* Bearer
      const found = mine(account).find(({ shown }) => shown.uid === wanted)
      return found ?? (yield* DatalayerApi.NotFound.make({ message: "There is no such token" }))
    })

  return {
    list: () =>
      Effect.map(Bearer, ({ account }) => ({ ...done("Tokens"), tokens: mine(account).map(({ shown }) => shown) })),

    create: Effect.fnUntraced(function*({ payload }: { readonly payload: typeof DatalayerApi.ApiTokenPayload.Type }) {
      const { account } = yield* Bearer
      const now = yield* state.now
      const end = payload.expirationDate ?? (payload.expiration_date ?? 0) * 1000
      const lifetime = end > 0 ? Duration.millis(end - DateTime.toEpochMillis(now)) : Duration.infinity
      const token = yield* state.issue({ account, project: undefined }, claims(account), lifetime)
      const number = state.nextNumber()
      const shown: DatalayerApi.ApiToken = {
        id: uuid(3000 + number),
        uid: uid("T0KEN", number),
        variant_s: payload.variant ?? "user_token",
        name_s: payload.name,
        description_t: payload.description ?? "",
        ...(end > 0 ? { expiration_ts_dt: DateTime.formatIso(DateTime.makeUnsafe(end)) } : {})
      }
      state.apiTokens().set(shown.uid, { account, token, shown })
      return { ...done("The token was created"), token: { ...shown, value_s: token }, access_token: token }
    }),

    get: ({ params }: { readonly params: { readonly uid: string } }) =>
      Effect.map(one(params.uid), ({ shown }) => ({ ...done("Token"), token: shown })),

    update: Effect.fnUntraced(function*({ params, payload }: {
      readonly params: { readonly uid: string }
      readonly payload: Partial<Pick<DatalayerApi.ApiToken, "name_s" | "description_t">>
    }) {
      const record = yield* one(params.uid)
      const shown = { ...record.shown, ...payload }
      state.apiTokens().set(shown.uid, { ...record, shown })
      return { ...done("The token was changed"), token: shown }
    }),

    remove: ({ params }: { readonly params: { readonly uid: string } }) =>
      Effect.map(one(params.uid), ({ shown, token }) => {
        state.kill(token)
        state.apiTokens().delete(shown.uid)
        return done("The token was deleted")
      })
  }
})

export const layer = Layer.merge(
  HttpApiBuilder.group(Api, "tokens", (group) => Effect.map(handlers, (all) => group.handleAll(all))),
  HttpApiBuilder.group(Api, "apiKeys", (group) => Effect.map(handlers, (all) => group.handleAll(all)))
)
