import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"

/** A file system that kills the process before its nth call, or in the middle of it if it writes. */
export const mortal = (point: number): Layer.Layer<FileSystem.FileSystem> => {
  let calls = 0
  const dying = <A, E, R>(effect: Effect.Effect<A, E, R>, lastWords: Effect.Effect<void, E> = Effect.void) =>
    Effect.suspend(() =>
      calls++ === point
        ? Effect.andThen(lastWords, Effect.sync(() => process.kill(process.pid, "SIGKILL"))).pipe(
          Effect.andThen(Effect.never)
        )
        : effect
    )

  return Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) =>
      FileSystem.FileSystem.of({
        ...fs,
        chmod: (...args) => dying(fs.chmod(...args)),
        makeDirectory: (...args) => dying(fs.makeDirectory(...args)),
        remove: (...args) => dying(fs.remove(...args)),
        rename: (...args) => dying(fs.rename(...args)),
        open: (...args) =>
          dying(fs.open(...args)).pipe(Effect.map((file) =>
            new Proxy(file, {
              get: (target, member) =>
                member === "sync"
                  ? dying(target.sync)
                  : member === "writeAll"
                  ? (bytes: Uint8Array) =>
                    dying(target.writeAll(bytes), target.writeAll(bytes.subarray(0, bytes.length / 2)))
                  : Reflect.get(target, member)
            })
          ))
      }))
  ).pipe(Layer.provide(NodeFileSystem.layer))
}
