/**
 * The variables of the environment: `AUTHN_` and the name of the setting in capitals, for the library and the command. What
 * an IAM's own clients read (`DATALAYER_…`) keeps the names that it has there.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

const isSet = (name: string): Config.Config<boolean> =>
  Config.map(Config.option(Config.String(name)), Option.exists((text) => text.trim() !== ""))

const named = (name: string, earlier: string): Config.Config<string> =>
  Config.flatMap(isSet(name), (isSetNow) =>
    isSetNow
      ? Config.succeed(name)
      : Config.mapEffect(isSet(earlier), (isSetEarlier) =>
        isSetEarlier
          ? Effect.as(Effect.logWarning(`${earlier} is now ${name}: rename it; the earlier name still works`), earlier)
          : Effect.succeed(name)))

/**
 * The name under which a variable is set: its own, else the one that it had earlier, with a note in the log, which says
 * what to rename. One that is set under neither goes by its own name. An empty text counts as not set.
 *
 * **Example** (A variable that was renamed)
 *
 * ```ts import.meta.vitest
 * import { Variable } from "@effect-authn/core"
 * import { ConfigProvider, Effect } from "effect"
 *
 * const environment = ConfigProvider.layer(ConfigProvider.fromEnv({ env: { AUTHN_KEY: "new", EFFECT_AUTHN_KEY: "old" } }))
 * const name = Variable.nameOf("AUTHN_KEY", "EFFECT_AUTHN_KEY")
 * await Effect.runPromise(Effect.provide(name, environment)) // => "AUTHN_KEY"
 * ```
 *
 * @category configuration
 * @since 0.1.0
 */
export const nameOf = (name: string, earlier: string): Effect.Effect<string> =>
  Effect.orElseSucceed(named(name, earlier), () => name)

/**
 * Reads a variable that was renamed, by what `of` makes of its name.
 *
 * @category configuration
 * @since 0.1.0
 */
export const renamed = <A>(
  name: string,
  earlier: string,
  of: (name: string) => Config.Config<A>
): Config.Config<A> => Config.flatMap(named(name, earlier), of)

// A file with Windows' line ends leaves a CR at the end of each variable.
const withoutEnd = (text: string): string => text.replace(/\r+$/, "")

/**
 * The text of a variable, without a CR at its end; an empty one counts as not set.
 *
 * @category configuration
 * @since 0.1.0
 */
export const text = (name: string): Config.Config<string> => Config.map(Config.NonEmptyString(name), withoutEnd)

/**
 * The secret in a variable, without a CR at its end.
 *
 * @category configuration
 * @since 0.1.0
 */
export const secret = (name: string): Config.Config<Redacted.Redacted> =>
  Config.map(Config.Redacted(name), (secret) => Redacted.make(withoutEnd(Redacted.value(secret))))
