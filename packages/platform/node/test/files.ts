import { type Session, TokenStorage, type TokenStorageError } from "@effect-authn/core"
import { FileTokenStorage } from "@effect-authn/platform-node"
import { Effect, Option } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { key, sessionOf } from "./children/fixture.ts"

export const use = <A, E, R>(directory: string, effect: Effect.Effect<A, E, R>) =>
  Effect.provide(effect, FileTokenStorage.layer({ directory }))

export const get = (of = key) => Effect.flatMap(TokenStorage.TokenStorage, (storage) => storage.get(of))
export const put = (generation: number, expected: number, of = key) =>
  Effect.flatMap(TokenStorage.TokenStorage, (storage) => storage.put(of, sessionOf(generation, of), expected))
export const remove = (expected: number, of = key) =>
  Effect.flatMap(TokenStorage.TokenStorage, (storage) => storage.remove(of, expected))

export const generationOf = (found: Option.Option<Session.Session>) =>
  Option.match(found, { onNone: () => 0, onSome: (session) => session.generation })

export const reason = (error: TokenStorageError.TokenStorageError) => error.reason._tag
export const modeOf = (path: string) => (Fs.statSync(path).mode & 0o777).toString(8)
export const filesIn = (directory: string) => Fs.readdirSync(directory).filter((name) => name !== "locks")
export const sessionFile = (directory: string, of = key) =>
  Path.join(directory, filesIn(directory).find((name) => name.endsWith(".json") && name.includes(`-${of.account}-`))!)
