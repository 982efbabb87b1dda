/** @since 0.1.0 */
import type { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import * as SchemaIssue from "effect/SchemaIssue"

const format = SchemaIssue.makeFormatterStandardSchemaV1()

/** What is wrong with a request, a line each. The messages hold no value of it. */
export const issues = (error: HttpApiSchemaError): ReadonlyArray<string> =>
  format(error.cause.issue).issues.map(({ message, path }) =>
    path === undefined || path.length === 0
      ? message
      : `${path.map((key) => (typeof key === "object" ? key.key : key)).join(".")}: ${message}`
  )
