/** What a failure of Redis means for who wrote: the words, and whether the write may have happened. */
import { StorageUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import type { RedisError } from "effect/persistence/Redis"

// What Redis answers when it has not run a command, by the first word of its answer, and what to do.
const refusals: { readonly [code: string]: string | undefined } = {
  NOAUTH: "wants a password: give one to the Redis client",
  WRONGPASS: "refuses the user or the password",
  NOPERM: "does not allow this user what sessions need: +@connection +@read +@write +@pubsub +@scripting -@dangerous " +
    "+info +time +wait, the keys ~{PREFIX* and the channel &PREFIX*",
  READONLY: "is a replica, which nobody may write to: connect to the primary",
  OOM: "is full: give it more memory (maxmemory), and keep maxmemory-policy at noeviction",
  MISCONF: "cannot save to its disk, and takes no writes until it can",
  LOADING: "is still loading its data",
  MASTERDOWN: "is a replica that has lost its primary",
  CLUSTERDOWN: "is a cluster that is down",
  MOVED: "is a node of a cluster, and sends to another one: connect through a proxy, or to a single server",
  NOREPLICAS: "has too few replicas, by its own setting (min-replicas-to-write)",
  BUSY: "is busy with a script",
  TRYAGAIN: "is a cluster that is moving these keys",
  WRONGTYPE: "has something else than sessions at one of these keys: remove it, or take another prefix"
}

// A server that leaves commands out, as some are hosted, or that names them otherwise.
const isUnknown = (said: string): boolean => /^-?ERR unknown (redis )?command/i.test(said)

/** The first word of an answer; nothing where there was none. */
const codeOf = (said: string): string | undefined =>
  // what a script may not do is told without the word for it
  /^-?ERR The user executing the script can't/.test(said) ? "NOPERM" : /^-?([A-Z]+)\b/.exec(said)?.[1]

/** What Redis answered; nothing where it was not reached. */
const answerOf = (said: string): string | undefined => {
  const code = codeOf(said)
  if (code === undefined) return undefined
  const refusal = refusals[code]
  if (refusal !== undefined) return refusal
  return isUnknown(said)
    ? `does not know a command that sessions need (${said}): allow it there (rename-command), or take another server`
    : `said "${said}": see its log`
}

const words = (cause: unknown): string => {
  if (cause instanceof AggregateError && cause.message === "") return cause.errors.map(words).join(", ")
  // An unknown command is answered with its arguments, which are secrets.
  return cause instanceof Error ? cause.message.replace(/, with args.*/s, "") : "unknown"
}

/** A failure of a command that only reads. */
export const ofRead = ({ cause }: RedisError): StorageUnavailable => {
  const said = words(cause)
  const answer = answerOf(said)
  return new StorageUnavailable({
    detail: answer === undefined
      ? `Redis cannot be used (${said}): is it running, and reachable?`
      : `Redis ${answer}`,
    written: "no"
  })
}

/** A failure of a command that writes: known not to have happened only where Redis says so. */
export const ofWrite = (error: RedisError): StorageUnavailable => {
  const { detail } = ofRead(error)
  const said = words(error.cause)
  const isRefused = refusals[codeOf(said) ?? ""] !== undefined || isUnknown(said)
  return new StorageUnavailable({ detail, written: isRefused ? "no" : "maybe" })
}
