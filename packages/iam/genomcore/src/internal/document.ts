/**
 * The plain document in which a session of this dialect travels from one client to another.
 */
import * as ExportDocument from "@effect-authn/core/iam/ExportDocument"
import * as Option from "effect/Option"
import * as GenomcoreOptions from "../GenomcoreOptions.ts"

/**
 * The seed's three keys (`token`, `refresh_token`, `env`) and what a careful reader wants to know besides. A document of
 * another environment is refused, unless that name stands for the same origin here.
 */
export const make = (settings: GenomcoreOptions.Settings): ExportDocument.ExportDocument =>
  ExportDocument.make({
    issuer: settings.host,
    isHost: (host) => Option.getOrNull(GenomcoreOptions.origin(host)) === settings.host,
    env: {
      name: settings.env,
      accepts: (name) =>
        name === settings.env ||
        GenomcoreOptions.environment(settings.environments, name).pipe(
          Option.flatMap(GenomcoreOptions.origin),
          Option.contains(settings.host)
        ),
      known: GenomcoreOptions.knownNames(settings.environments)
    },
    tokenType: settings.tokenType
  })
