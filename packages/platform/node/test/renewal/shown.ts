import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import { inspect } from "node:util"

/** All the ways in which a value is commonly printed. Runs in tests and children. */
export const shown = (value: unknown): string =>
  [
    // oxlint-disable-next-line typescript/no-base-to-string -- what a template string would show is the point
    String(value),
    JSON.stringify(value),
    inspect(value, { depth: null, showHidden: true, getters: true }),
    Formatter.format(value),
    Formatter.formatJson(value),
    value instanceof Error ? value.stack : "",
    Cause.pretty(Cause.fail(value)),
    inspect(Exit.fail(value), { depth: null, showHidden: true })
  ].join("\n")
