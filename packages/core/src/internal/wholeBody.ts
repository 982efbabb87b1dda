import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

// Tokens, key sets and metadata are far smaller; whoever sends more fills memory. `Stream.limitBytes` would do, and bring
// effect's sizes of bytes: 1.1 kB of the 130 that a page loads.
const mostBytes = 1024 * 1024

/** Reads the text of a body of at most 1 MiB. Of a longer one no more is read, and `tooLong` is its failure. */
export const wholeBody = <E, E2>(
  body: Stream.Stream<Uint8Array, E>,
  tooLong: () => E2
): Effect.Effect<string, E | E2> =>
  Effect.suspend(() => {
    const decoder = new TextDecoder()
    let length = 0
    let text = ""
    return Effect.map(
      Stream.runForEach(body, (chunk) => {
        length += chunk.length
        text += decoder.decode(chunk, { stream: true })
        return length > mostBytes ? Effect.fail(tooLong()) : Effect.void
      }),
      () => text + decoder.decode()
    )
  })
