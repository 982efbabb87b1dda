/**
 * The files of sessions as the version before the redesign (8b37c76) wrote and read them: documents that it wrote, and the
 * schema of its reader, which has nothing in common with today's.
 */
import { Schema } from "effect"

/** What that version called the files of the session of these documents. */
export const fileName = "idp.example.com-ada-34895ffdc18140e5.json"

const simple = (grant: string) =>
  `{"version":1,"session":{"key":{"issuer":"https://idp.example.com/realms/acme","client":"cli","account":"ada"},` +
  `"generation":5,"durable":true,"strategy":"token","grant":{"_tag":"${grant}"},` +
  `"tokens":{"":{"accessToken":"at-1","tokenType":"Bearer","issuedAt":1700000000000}},"current":{}}}`

/** Documents that it wrote, by what is special about them. */
export const documents: { readonly [name: string]: string } = {
  "every field":
    "{\"version\":1,\"session\":{\"key\":{\"issuer\":\"https://idp.example.com/realms/acme\",\"client\":\"cli\",\"accoun" +
    "t\":\"ada\"},\"generation\":1700000000001,\"obtainedAt\":1700000000000,\"durable\":true,\"strategy\":\"browser\"," +
    "\"user\":{\"id\":\"01H\",\"handle\":\"ada\",\"displayName\":\"Ada Łovelace\",\"email\":\"ada@example.org\",\"roles\":[\"m" +
    "ember\"],\"profile\":{\"nested\":{\"list\":[1,null,\"x\"]}}},\"grant\":{\"_tag\":\"RefreshToken\",\"refreshToken\":\"r" +
    "t-1\"},\"tokens\":{\"\":{\"accessToken\":\"at-1\",\"tokenType\":\"Bearer\",\"issuedAt\":1700000000000,\"expiresAt\":1" +
    "700003600000,\"idToken\":\"id-1\",\"scope\":\"a b\"},\"organization=acme&project=apollo%20%26%20co%2F1&resour" +
    "ce=https%3A%2F%2Fa.example&scope=a%20b\":{\"accessToken\":\"at-2\",\"tokenType\":\"Bearer\",\"issuedAt\":170000" +
    "0000000,\"expiresAt\":1700003600000,\"idToken\":\"id-1\",\"scope\":\"a b\"}},\"current\":{\"organization\":\"acme\"," +
    "\"project\":\"apollo & co/1\",\"resource\":\"https://a.example\",\"scope\":\"a b\"},\"dead\":{\"at\":1700000000002,\"" +
    "cause\":\"invalid_grant\",\"answerLost\":true},\"intent\":{\"at\":1700000000003,\"selection\":{\"organization\":\"" +
    "acme\",\"project\":\"apollo & co/1\",\"resource\":\"https://a.example\",\"scope\":\"a b\"},\"holder\":\"pid 4711 on " +
    "example\"}}}",
  "an access token that is exchanged": simple("ExchangeAccessToken"),
  "credentials at hand": simple("Reissue"),
  "no grant": simple("None")
}

/** The key of the encrypted document, as `AUTHN_KEY` has it: 32 bytes of 9. */
export const key = new Uint8Array(32).fill(9)

/** A document that it encrypted with that key: the refresh token is `rt-1`. */
export const encrypted =
  "{\"version\":1,\"sealed\":{\"key\":\"fdmu-wPTtedvtrVVfRChFw\",\"of\":\"34895ffdc18140e5ce7f220f70c91156a0ffb9c1" +
  "e1a61cc4fa5f521372fdc489\",\"nonce\":\"1Db_gwcp1V4TBvq5\",\"data\":\"UEAgdCjf64AAP3XTC7B1ITw19o428DZjFpjQhWM" +
  "zuxQkEevj8Tf3LUR97jGHMBjjUDYnimCWOlT4koM7Vr4C-l32Cow06-mKB3bcMva-yKEUB3tKhyepxEfhiH6kKFDDja_oZ8zqbm_" +
  "227Ugew830mi4ZJ3WaX1ZkNLGTi-6eEuwsXEPgYCkyuuTeIPeuxQB4u8IaV7itZIT1MiwdpAuD8pGbP8DSP5ouAbPe37HArPTZuX" +
  "2U8Mik2cCdSWpP2rpFi0v7l3tTnNScmkisU12MvOSSyMfCCf3KOD-pJCmpDLJ7RR-j4uYTXv5Svv3FBVJdXL8h-uqnYN3c_dqXW0" +
  "pdGlzBd6Ti-dgIbMA5Wh2kf7-EYu0cX05vQkearOt_uFUdpwudFB7vpRvXAHbcxkjTokZxHU82D5mn6l--lgr5ITJAxPweTY\"}}"

const Secret = Schema.NonEmptyString
const Selection = Schema.Struct({
  organization: Schema.optionalKey(Schema.NonEmptyString),
  project: Schema.optionalKey(Schema.NonEmptyString),
  resource: Schema.optionalKey(Schema.NonEmptyString),
  scope: Schema.optionalKey(Schema.NonEmptyString)
})
// a date beyond the range of `Date` is none
const Millis = Schema.Int.check(Schema.isBetween({ minimum: -8.64e15, maximum: 8.64e15 }))

/** The shape that its reader accepts; it leaves out what it does not know. */
export const Document = Schema.Struct({
  version: Schema.Literal(1),
  session: Schema.Struct({
    key: Schema.Struct({
      issuer: Schema.NonEmptyString,
      client: Schema.NonEmptyString,
      account: Schema.NonEmptyString
    }),
    generation: Schema.Natural,
    obtainedAt: Schema.optionalKey(Schema.Natural),
    durable: Schema.Boolean,
    strategy: Schema.NonEmptyString,
    user: Schema.optionalKey(Schema.Struct({
      id: Schema.NonEmptyString,
      handle: Schema.optionalKey(Schema.NonEmptyString),
      displayName: Schema.optionalKey(Schema.NonEmptyString),
      firstName: Schema.optionalKey(Schema.NonEmptyString),
      lastName: Schema.optionalKey(Schema.NonEmptyString),
      email: Schema.optionalKey(Schema.NonEmptyString),
      avatarUrl: Schema.optionalKey(Schema.NonEmptyString),
      roles: Schema.Array(Schema.String),
      profile: Schema.Record(Schema.String, Schema.Json)
    })),
    grant: Schema.TaggedUnion({
      RefreshToken: { refreshToken: Secret },
      ExchangeAccessToken: {},
      Reissue: {},
      None: {}
    }),
    tokens: Schema.Record(
      Schema.String,
      Schema.Struct({
        accessToken: Secret,
        tokenType: Schema.NonEmptyString,
        issuedAt: Millis,
        expiresAt: Schema.optionalKey(Millis),
        idToken: Schema.optionalKey(Secret),
        scope: Schema.optionalKey(Schema.String)
      })
    ),
    current: Selection,
    dead: Schema.optionalKey(Schema.Struct({ at: Millis, cause: Schema.String, answerLost: Schema.Boolean })),
    intent: Schema.optionalKey(Schema.Struct({ at: Millis, selection: Selection, holder: Schema.String }))
  })
})
