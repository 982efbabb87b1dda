// The scanner behind docs/api: what it takes for an export, a member and a text of its own.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as path from "node:path"
import { run } from "./run.ts"

const scripts = path.join(import.meta.dirname, "../docs")

/** What a module with this source exports, and what of it has no text, as `npm run lint` would say it. */
const scanned = (source: string, beside = "") =>
  Effect.map(
    run(process.execPath, [
      "--input-type=module",
      "-e",
      `import { undocumentedIn } from ${JSON.stringify(path.join(scripts, "api.mjs"))}
       import { readModule } from ${JSON.stringify(path.join(scripts, "sources.mjs"))}
       const module = readModule(${JSON.stringify(source)}, "Thing", () => ${JSON.stringify(beside)})
       const undocumented = undocumentedIn({ name: "core", modules: [module] })
       console.log(JSON.stringify({ undocumented, exports: module.exports.map(({ name }) => name) }))`
    ]),
    ({ code, stderr, stdout }) => {
      assert.strictEqual(code, 0, stderr)
      return JSON.parse(stdout)
    }
  )

const header = "/**\n * A module.\n *\n * @since 0.1.0\n */\n"

describe("an API reference made from JSDoc blocks", () => {
  it.live("misses the text of a module, of an export and of a member of a service", () =>
    Effect.gen(function*() {
      const source = `export const bare = 1

/**
 * @category models
 */
export type Tagged = string

/**
 * A service. - \`silent\` is in a bullet only.
 */
export class Thing
  extends Context.Service<Thing, {
    /** Says so. */
    readonly documented: string
    readonly silent: (options: {
      readonly nested: string
    }) => void
  }>()("Thing")
{}
`
      assert.deepStrictEqual((yield* scanned(source)).undocumented, [
        "core/Thing",
        "core/Thing.bare",
        "core/Thing.Tagged",
        "core/Thing.Thing#silent"
      ])
    }))

  it.live("takes a schema and its type, and overloads, for one; what is internal for nothing", () =>
    Effect.gen(function*() {
      const source = `${header}
/** A schema. */
export const Both = Schema.String

/**
 * @category models
 */
export type Both = typeof Both.Type

/** @internal */
export const hidden = 1

/** Says so. */
export function twice(a: string): void
export function twice(a: number): void

/**
 * What a caller sets:
 *
 * - \`a\`, \`b\`: a bullet of its own block speaks for a member of an interface.
 */
export interface Options {
  readonly a: string
  readonly b?: string
  readonly c: string
}

/** A handle. */
export class Handle {
  readonly #entry: string
  constructor(entry: string) {
    this.#entry = entry
  }
  /** Says so. */
  get token(): string {
    if (this.#entry === "") return ""
    return this.#entry
  }
  get silent(): string {
    return ""
  }
}
`
      assert.deepStrictEqual(yield* scanned(source), {
        undocumented: ["core/Thing.Handle#silent"],
        exports: ["Both", "twice", "Options", "Handle"]
      })
    }))

  it.live("takes what a module hands on from where it is declared", () =>
    Effect.gen(function*() {
      const source = `${header}
export { said, type Silent } from "./internal/thing.ts"

/** Says so. */
export const own = 1
`
      const beside = `/** Says so. */
export const said = 1

export type Silent = string

export const elsewhere = 1
`
      assert.deepStrictEqual(yield* scanned(source, beside), {
        undocumented: ["core/Thing.Silent"],
        exports: ["said", "Silent", "own"]
      })
    }))
})
