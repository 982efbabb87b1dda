/**
 * Arguments of tools that a server of 2026-07-28 wants to see in headers as well, for whoever routes by them: the schema of
 * such an argument has `x-mcp-header`. A host that speaks over pipes knows nothing of headers, so the bridge sends them.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Predicate from "effect/Predicate"

type Json = { readonly [name: string]: unknown }

interface Parameter {
  readonly path: ReadonlyArray<string>
  readonly header: string
}

const isObject = (value: unknown): value is Json => Predicate.isObject(value)

/** A text as the value of a header: as it stands, or in Base64 where it could not stand so. */
export const valueOf = (text: string): string =>
  /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !text.startsWith("=?base64?")
    ? text
    : `=?base64?${Base64.encode(text)}?=`

const token = /^[\w!#$%&'*+.^`|~-]+$/
const types = new Set<unknown>(["string", "integer", "boolean"])

/** What the schema of a tool marks, as deep as objects go. */
const parametersIn = (schema: unknown, path: ReadonlyArray<string> = []): ReadonlyArray<Parameter | undefined> => {
  if (!isObject(schema)) return []
  const { properties, type, "x-mcp-header": name } = schema
  const own = name === undefined
    ? []
    : [
      typeof name === "string" && token.test(name) && types.has(type) && path.length > 0
        ? { path, header: `mcp-param-${name.toLowerCase()}` }
        : undefined
    ]
  return isObject(properties)
    ? [...own, ...Object.entries(properties).flatMap(([key, child]) => parametersIn(child, [...path, key]))]
    : own
}

const argumentAt = (given: unknown, path: ReadonlyArray<string>): unknown =>
  path.reduce((value, key) => isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined, given)

/** Remembers the tools that a server has listed. */
export const make = () => {
  const tools = new Map<string, ReadonlyArray<Parameter>>()
  return {
    /** Notes the tools in a result of the server, where it is a list of them. A tool with a mark that is none has no headers. */
    note: (result: unknown): void => {
      if (!isObject(result) || !Array.isArray(result["tools"])) return
      for (const tool of result["tools"]) {
        if (!isObject(tool) || typeof tool["name"] !== "string") continue
        const marked = parametersIn(tool["inputSchema"])
        const good = marked.filter((parameter) => parameter !== undefined)
        const isGood = good.length === marked.length && new Set(good.map(({ header }) => header)).size === good.length
        tools.set(tool["name"], isGood ? good : [])
      }
    },
    /** The headers of a call. */
    of: (name: string, given: unknown): Record<string, string> =>
      Object.fromEntries(
        (tools.get(name) ?? []).flatMap(({ header, path }) => {
          const value = argumentAt(given, path)
          return typeof value === "string" || typeof value === "boolean" || Number.isSafeInteger(value)
            ? [[header, valueOf(String(value))]]
            : []
        })
      )
  }
}
