/**
 * What is said while a signal waits for a renewal: one that was sent uses up the session's refresh token, so its answer is
 * written down before the command ends.
 */

const exitCodes = { SIGINT: 130, SIGTERM: 143 }

// Nobody sees what takes no longer.
const moment = 300

const say = (text: string): void => {
  process.stderr.write(`authn: ${text}\n`)
}

/**
 * Listens to signals, beside whoever ends the command; `isPassedOn` says that they are another program's now. The result
 * tells the exit code of the signal that came, if one did.
 */
export const listen = (isPassedOn: () => boolean): () => number | undefined => {
  let exitCode: number | undefined
  const onSignal = (name: "SIGINT" | "SIGTERM") => {
    if (isPassedOn()) return
    if (exitCode !== undefined) {
      say("ended in the middle of a renewal: its answer is lost, and a new login may be needed")
      process.exit(exitCode)
    }
    exitCode = exitCodes[name]
    // The runtime is being interrupted, and its timers with it.
    // oxlint-disable-next-line effecttsgo/global-timers
    setTimeout(() => say("finishing a renewal, so that the session is not lost; once more ends at once"), moment)
      .unref()
  }
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal)
  return () => exitCode
}
