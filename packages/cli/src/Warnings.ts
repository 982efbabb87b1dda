/**
 * Warnings of the library. They are held back for a moment, since the failure that follows often says the same.
 *
 * @since 0.1.0
 */
import * as Logger from "effect/Logger"

const moment = 10_000
const held = new Set<string>()
let timer: NodeJS.Timeout | undefined

/**
 * Keeps each warning once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const logger = Logger.make(({ message }) => {
  held.add(Array.isArray(message) ? message.join(" ") : String(message))
  // A logger has no fiber of its own to wait in.
  // oxlint-disable-next-line effecttsgo/global-timers
  timer ??= setTimeout(() => flush(), moment).unref()
})

/**
 * Shows what is held back, except what `failure` says.
 *
 * @category printing
 * @since 0.1.0
 */
export const flush = (failure?: string): void => {
  clearTimeout(timer)
  timer = undefined
  const [said] = failure?.split("\n") ?? []
  for (const warning of held) {
    if (said === undefined || !warning.includes(said)) process.stderr.write(`authn: ${warning}\n`)
  }
  held.clear()
}
