/**
 * What the commands about vaults are told. It loads nothing of a vault, for the sake of the commands that are about none.
 */
import * as Flag from "effect/cli/Flag"

const file = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar("FILE"), Flag.withDescription(description), Flag.optional)

/** `--store`, at every command of a vault. */
export const store = Flag.String("store").pipe(
  Flag.withMetavar("PLACE"),
  Flag.withDescription("A file of SQLite, or postgres://…; else AUTHN_VAULT_STORE, else a file in your data directory"),
  Flag.optional
)

/** Those of `authn vault`. */
export const serve = {
  providers: file("providers", "The table of IAMs; else providers.toml beside your config.toml"),
  store,
  keyFile: file("key-file", "The key that sessions are encrypted with; it is made where there is nothing to read yet"),
  host: Flag.String("host").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Where to listen; this machine only, unless there is a certificate or a proxy"),
    Flag.optional
  ),
  port: Flag.Int("port").pipe(
    Flag.withMetavar("PORT"),
    Flag.withDescription("The port, or 0 for any that is free"),
    Flag.withDefault(4701)
  ),
  certificate: file("certificate", "The certificate to serve https with, and those above it, as PEM"),
  privateKey: file("private-key", "The key of the certificate, as PEM"),
  behindTlsProxy: Flag.Boolean("behind-tls-proxy").pipe(
    Flag.withDescription("Serve http to others: only where a proxy in front speaks https"),
    Flag.withDefault(false)
  ),
  status: Flag.Boolean("status").pipe(
    Flag.withDescription("Serve a page about this vault to browsers on this machine"),
    Flag.withDefault(false)
  ),
  tokenFile: file("token-file", "Where the first service token is written, unless a terminal shows it")
}

/** Those of `authn vault token create`, besides the name. */
export const create = {
  store,
  right: Flag.Literals("right", ["token", "sessions:write", "sessions:read"]).pipe(
    Flag.withDescription("What it may do; may be repeated. Default: token"),
    Flag.atLeast(0)
  ),
  accounts: Flag.String("accounts").pipe(
    Flag.withMetavar("PREFIX"),
    Flag.withDescription("How the accounts begin that it is for; all of them unless told"),
    Flag.optional
  ),
  lifetime: Flag.String("lifetime").pipe(
    Flag.withMetavar("SPAN"),
    Flag.withDescription("When it ends: 12h, 90d; at most 3650d"),
    Flag.withDefault("365d")
  ),
  out: file("out", "Write the token to a file that only you may read, instead of printing it")
}

/** Those by which other commands reach a vault. */
export const remote = {
  vault: Flag.String("vault").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("The vault that keeps the session, instead of this machine"),
    Flag.optional
  ),
  vaultAccount: Flag.String("vault-account").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("The account in the vault; else the name of the account here"),
    Flag.optional
  ),
  vaultTokenFile: file("vault-token-file", "The file of the service token for the vault; else AUTHN_VAULT_TOKEN"),
  vaultTokenStdin: Flag.Boolean("vault-token-stdin").pipe(
    Flag.withDescription("Read the service token for the vault from the standard input"),
    Flag.withDefault(false)
  )
}

/** What such flags say. */
export type Given<Flags extends Record<string, Flag.Flag<unknown>>> = {
  readonly [Name in keyof Flags]: Flags[Name] extends Flag.Flag<infer A> ? A : never
}
