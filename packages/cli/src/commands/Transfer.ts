/**
 * `authn export` and `authn import`.
 */
import { AuthManager } from "@effect-authn/core/AuthManager"
import * as StoragePolicy from "@effect-authn/core/storage/StoragePolicy"
import * as PrivateFile from "@effect-authn/platform-node/PrivateFile"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Struct from "effect/Struct"
import * as Account from "../Account.ts"
import * as AccountServices from "../AccountServices.ts"
import { failed, usage } from "../Failure.ts"
import * as Input from "../Input.ts"
import * as LoginRecord from "../LoginRecord.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

const encode = Schema.encodeEffect(Schema.fromJsonString(Schema.Json, { space: 2 }))

/**
 * Writes a session, with its secrets.
 */
export const exportCommand = Command.make("export", {
  output: Flag.String("output").pipe(
    Flag.withAlias("o"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("Write a new file that only you can read"),
    Flag.optional
  ),
  terminal: Flag.Boolean("to-terminal").pipe(
    Flag.withDescription("Show the secrets on the terminal all the same"),
    Flag.withDefault(false)
  )
}, ({ output, terminal }) =>
  Effect.gen(function*() {
    const stdio = yield* Stdio.Stdio
    if (Option.isNone(output) && !terminal && (yield* stdio.stdoutIsTerminal)) {
      return yield* usage(
        "the session would show its secrets on this terminal: give --output FILE, pipe it, or say --to-terminal"
      )
    }
    const settings = yield* Settings.make()
    const services = yield* AccountServices.openAccount(settings)
    const document = yield* Context.get(services, AuthManager).export
    const { client, dialect, provider, scopes } = Option.getOrThrow(settings.account)
    const written = Struct.assign(document, {
      dialect,
      client,
      ...(scopes === undefined ? {} : { scopes: scopes.join(" ") }),
      ...(provider === undefined ? {} : { provider })
    })
    if (Option.isNone(output)) return yield* Output.json(written)
    const text = yield* Effect.orDie(encode(written))
    const fs = yield* FileSystem.FileSystem
    yield* fs.writeFileString(output.value, `${text}\n`, { flag: "wx", mode: 0o600 }).pipe(
      Effect.catchReason("PlatformError", "AlreadyExists", () =>
        Effect.fail(usage(`${output.value} exists already, and is left as it is`))),
      Effect.catchTag("PlatformError", (error) =>
        // A part of it holds secrets, too, and would be in the way of the next try.
        Effect.ignore(fs.remove(output.value, { force: true })).pipe(
          Effect.andThen(failed(`${output.value} cannot be written: ${PrivateFile.reasonOf(error)}`))
        ))
    )
    yield* Output.say(`The session of "${settings.name}" is in ${output.value}. Whoever has that file is signed in.`)
  }).pipe(Effect.scoped)).pipe(Command.withDescription("Write the session as a document, with its secrets"))

const Document = Schema.fromJsonString(Schema.Struct({
  host: Schema.optionalKey(Schema.NullOr(Schema.String)),
  dialect: Schema.optionalKey(Account.Dialect),
  client: Schema.optionalKey(Schema.String),
  scopes: Schema.optionalKey(Schema.String),
  provider: Schema.optionalKey(Account.Provider)
}))
const decodeDocument = Schema.decodeUnknownEffect(Document)
const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

/**
 * Takes up a session that was written elsewhere.
 */
export const importCommand = Command.make("import", {
  dialect: Flag.String("dialect").pipe(
    Flag.withMetavar("DIALECT"),
    Flag.withDescription("Where the document does not say it"),
    Flag.optional
  ),
  issuer: Flag.String("issuer").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("Where the document does not say it"),
    Flag.optional
  ),
  client_id: Flag.String("client-id").pipe(
    Flag.withMetavar("ID"),
    Flag.withDescription("Where the document does not say it"),
    Flag.optional
  ),
  storage: Flag.String("storage").pipe(
    Flag.withMetavar("PLACE"),
    Flag.withDescription(`Where the session is kept: ${StoragePolicy.Policy.literals.join(", ")}`),
    Flag.optional
  )
}, (given) =>
  Effect.gen(function*() {
    const text = yield* Input.text("the document")
    const document = yield* Effect.mapError(
      decodeDocument(text),
      () => usage("what came in is not the document of an exported session")
    )
    const or = (flag: Option.Option<string>, written: string | null | undefined) =>
      Option.orElse(flag, () => Option.filter(Option.fromNullishOr(written), (value) => value !== ""))
    const settings = yield* Settings.make({
      dialect: or(given.dialect, document.dialect),
      issuer: or(given.issuer, document.host),
      client_id: or(given.client_id, document.dialect === "oidc" ? document.client : undefined),
      scope: or(Option.none(), document.scopes),
      storage: given.storage
    })
    const { dialect, name, values } = settings
    if (dialect === undefined) return yield* usage("the document does not name its dialect: give --dialect")
    if (values.issuer === undefined) return yield* usage("the document does not name its issuer: give --issuer")
    const target = {
      ...AccountServices.targetOf(settings, dialect, values.issuer.value),
      // What a document names, nobody typed.
      byFlags: undefined,
      // A document says nothing of where this platform's tokens go.
      ...(dialect === "oidc"
        ? { provider: Struct.omit(document.provider ?? settings.provider, ["workload"]) }
        : {})
    }
    const services = yield* AccountServices.open(target, AccountServices.storage(settings.policy ?? "auto"))
    yield* Context.get(services, AuthManager).import(yield* Effect.orDie(decodeJson(text)))
    yield* LoginRecord.login(target, services)
    yield* Output.say(
      `The session is now that of "${name}". Its renewal, by whoever comes first, may end the one it was copied from.`
    )
  }).pipe(Effect.scoped)).pipe(Command.withDescription("Take up the session of a document on the standard input"))
