/** What a failure of Redis means for who wrote: the words, and whether the write may have happened. */
import { StorageUnavailable } from "@effect-authn/core/storage/TokenStorageError"
import type { RedisError } from "effect/persistence/Redis"

// What Redis answers when it has not run a command, by the first word of its answer, and what to do.
const refusals: { readonly [code: string]: string | undefined } = {
  NOAUTH: "wants a password: give one to the Redis client",
  WRONGPASS: "refuses the user or the password",
  NOPERM: "does not allow this user what sessions need: EVALSHA, SCRIPT, INFO, SUBSCRIBE, PUBLISH, and its keys",
  READONLY: "is a replica, which nobody may write to: connect to the primary",
  OOM: "is full: give it more memory (maxmemory), and keep maxmemory-policy at noeviction",
  MISCONF: "cannot save to its disk, and takes no writes until it can",
  LOADING: "is still loading its data",
  MASTERDOWN: "is a replica that has lost its primary",
  CLUSTERDOWN: "is a cluster that is down",
  MOVED: "is a node of a cluster, and sends to another one: connect through a proxy, or to a single server",
  NOREPLICAS: "has too few replicas, by its own setting (min-replicas-to-write)",
  BUSY: "is busy with a script",
  TRYAGAIN: "is a cluster that is moving these keys"
}

const words = (cause: unknown): string => {
  if (cause instanceof AggregateError && cause.message === "") return cause.errors.map(words).join(", ")
  // An unknown command is answered with its arguments, which are secrets.
  return cause instanceof Error ? cause.message.replace(/, with args.*/s, "") : "unknown"
}

/** A failure of a command that only reads. */
export const ofRead = ({ cause }: RedisError): StorageUnavailable => {
  const said = words(cause)
  const refusal = refusals[/^-?([A-Z]+)\b/.exec(said)?.[1] ?? ""]
  return new StorageUnavailable({
    detail: refusal === undefined
      ? `Redis cannot be used (${said}): is it running, and reachable?`
      : `Redis ${refusal}`,
    written: "no"
  })
}

/** A failure of a command that writes: known not to have happened only where Redis says so. */
export const ofWrite = (error: RedisError): StorageUnavailable => {
  const { detail } = ofRead(error)
  const isRefused = refusals[/^-?([A-Z]+)\b/.exec(words(error.cause))?.[1] ?? ""] !== undefined
  return new StorageUnavailable({ detail, written: isRefused ? "no" : "maybe" })
}
