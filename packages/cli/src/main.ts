/**
 * The `authn` command. A token that lies ready, the state of sessions in files and help are printed without loading anything;
 * everything else is in `Process`.
 */
import * as ReadyHelp from "./ReadyHelp.ts"
import * as ReadyStatus from "./ReadyStatus.ts"
import * as ReadyToken from "./ReadyToken.ts"
import * as Text from "./Text.ts"

// Effect is what is not loaded yet.
// oxlint-disable-next-line effecttsgo/process-env
const { argv: [, , ...argv], env, platform } = process

/** Text for people, as a terminal may have it. */
const printText = (): boolean => {
  const isHelp = argv.at(-1) === "--help" || argv.at(-1) === "-h"
  if (!isHelp && argv[0] !== "status") return false
  const { columns, isTTY } = process.stdout
  const terminal = {
    width: isTTY ? Text.widthOf(columns) : Number.POSITIVE_INFINITY,
    isPainted: isTTY && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb"
  }
  // Effect's Clock is not loaded.
  // oxlint-disable-next-line effecttsgo/global-date
  const text = isHelp ? ReadyHelp.text(argv, terminal) : ReadyStatus.text(argv, env, platform, Date.now(), terminal)
  if (text === undefined) return false
  process.stdout.on("error", (error) => {
    // Who stopped reading has what they wanted.
    if ("code" in error && error.code === "EPIPE") return
    process.stderr.write(`authn: the output cannot be written: ${error.message}\n`)
    process.exitCode = 1
  })
  process.stdout.write(text)
  return true
}

if (!ReadyToken.print(argv) && !printText()) {
  // No trace is shown by this command, and the first one counts the lines of all of it.
  Error.stackTraceLimit = 0
  void import("./Process.ts").then(({ main }) => main())
}
