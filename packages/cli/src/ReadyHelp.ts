/**
 * The short way for `--help`: the texts that were made with the command (`HelpTexts`).
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Simulator from "./Simulator.ts"
import * as Text from "./Text.ts"

/** The help of commands, by the words after `authn` that name them. */
export interface HelpTexts {
  readonly [command: string]: { readonly plain: string; readonly painted: string }
}

/** The file beside the command: without the package of the simulator, and with it. */
export interface HelpFile {
  readonly alone: HelpTexts
  readonly withSimulator: HelpTexts
}

/**
 * The help that is asked for, or `undefined` where it was not made.
 */
export const text = (
  argv: ReadonlyArray<string>,
  terminal: { readonly width: number; readonly isPainted: boolean }
): string | undefined => {
  if (argv.at(-1) !== "--help" && argv.at(-1) !== "-h") return undefined
  try {
    const file: HelpFile = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, "help.json"), "utf8"))
    const texts = file[Simulator.manifest() === undefined ? "alone" : "withSimulator"]
    const found = texts[argv.slice(0, -1).join(" ")]
    return found && Text.help(terminal.isPainted ? found.painted : found.plain, terminal.width)
  } catch {
    return undefined
  }
}
