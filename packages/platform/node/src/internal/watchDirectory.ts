/** Hears of changed files without holding the process alive. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as NodeBackgroundSleep from "../NodeBackgroundSleep.ts"

/**
 * The names of the files in a directory that may have changed, for as long as the stream runs; it holds no process
 * alive (the watcher of Effect's `FileSystem` does). While the directory is not there, or cannot be watched, the stream
 * is silent. What may have been missed until the watcher was set up is made good with a hint for each of `names`.
 */
export const watchDirectory = (directory: string, names: () => Iterable<string>): Stream.Stream<string> =>
  Stream.callback<string>(
    (queue) => {
      const hint = (name: string) => Queue.offerUnsafe(queue, name)
      const watchOnce = Effect.acquireUseRelease(
        Effect.try(() => Fs.watch(directory, { persistent: false })),
        (watcher) =>
          Effect.callback<void>((resume) => {
            for (const name of names()) hint(name)
            watcher.on("error", () => resume(Effect.void))
            watcher.on("change", (_event, file) => {
              if (file === null) {
                for (const name of names()) hint(name)
              } else if (String(file) === Path.basename(directory)) {
                // the directory itself went away, and takes its watcher along
                resume(Effect.void)
              } else {
                hint(String(file))
              }
            })
          }),
        (watcher) => Effect.sync(() => watcher.close())
      )
      return watchOnce.pipe(Effect.ignore, Effect.andThen(NodeBackgroundSleep.nap(unwatched)), Effect.forever)
    },
    { bufferSize: 1024, strategy: "sliding" }
  )

// how long to leave a directory alone that cannot be watched
const unwatched = Duration.seconds(2)
