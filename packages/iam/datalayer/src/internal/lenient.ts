/** Readers of fields that come and go: what is odd, empty, null or missing is absent. */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** Makes a reader of the first of the named fields that decodes: an odd, empty, null or missing one is absent. */
const field = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownOption(schema)
  return (raw: Schema.JsonObject, ...names: ReadonlyArray<string>): Option.Option<S["Type"]> =>
    Option.firstSomeOf(names.map((name) => decode(raw[name])))
}

const Text = Schema.String.check(Schema.isPattern(/\S/))

export const text = field(Text)
export const secret = field(Schema.RedactedFromValue(Text, { label: "profile" }))
export const time = field(Schema.DateTimeUtcFromString)
export const integer = field(Schema.Union([Schema.Int, Schema.FiniteFromString.check(Schema.isInt())]))
export const object = field(Schema.JsonObject)
export const json = field(Schema.Json.check(Schema.makeFilter((value) => value !== null && value !== "")))
export const jsonText = field(Schema.fromJsonString(Schema.Json))

const boolean = field(Schema.Union([Schema.Boolean, Schema.Literals(["true", "false"])]))
const array = field(Schema.Array(Schema.Json))

/** Servers of this family write booleans as text, too. */
export const flag = (raw: Schema.JsonObject, ...names: ReadonlyArray<string>): Option.Option<boolean> =>
  Option.map(boolean(raw, ...names), (value) => value === true || value === "true")

export const list = (raw: Schema.JsonObject, ...names: ReadonlyArray<string>): ReadonlyArray<Schema.Json> =>
  Option.getOrElse(array(raw, ...names), () => [])

export const texts = (raw: Schema.JsonObject, ...names: ReadonlyArray<string>): ReadonlyArray<string> =>
  list(raw, ...names).filter(Schema.is(Text))

export const objects = (raw: Schema.JsonObject, name: string): ReadonlyArray<Schema.JsonObject> =>
  list(raw, name).filter(Schema.is(Schema.JsonObject))
