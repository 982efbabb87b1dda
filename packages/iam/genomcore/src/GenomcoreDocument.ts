/**
 * The plain document in which a session of this dialect travels from one client to another.
 *
 * @since 0.1.0
 */
import * as SessionDocument from "@effect-authn/core/iam/SessionDocument"
import * as Option from "effect/Option"
import * as GenomcoreDialect from "./GenomcoreDialect.ts"

/**
 * The seed's three keys (`token`, `refresh_token`, `env`) and what a careful reader wants to know besides. A document of
 * another environment is refused, unless that name stands for the same origin here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (dialect: GenomcoreDialect.Dialect): SessionDocument.SessionDocument =>
  SessionDocument.make({
    issuer: dialect.host,
    isHost: (host) => Option.getOrNull(GenomcoreDialect.origin(host)) === dialect.host,
    env: {
      name: dialect.env,
      accepts: (name) =>
        name === dialect.env ||
        GenomcoreDialect.environment(dialect.environments, name).pipe(
          Option.flatMap(GenomcoreDialect.origin),
          Option.contains(dialect.host)
        ),
      known: GenomcoreDialect.knownNames(dialect.environments)
    },
    tokenType: dialect.tokenType
  })
