/** The code blocks of the documents, and their command lines as a shell reads them. */
import * as fs from "node:fs"
import * as path from "node:path"

export interface Block {
  readonly language: string
  readonly text: string
  /** The heading that it stands under. */
  readonly section: string
}

/** The code blocks of a document, in order. */
export const blocks = (document: string): ReadonlyArray<Block> => {
  const text = fs.readFileSync(path.join(import.meta.dirname, "../../../docs", document), "utf8")
  let section = ""
  return [...text.matchAll(/^#+ (.+)$|^```(\w*)\n([^]*?)^```$/gm)].flatMap(([, heading, language, text]) => {
    if (heading !== undefined) section = heading
    return language === undefined || text === undefined ? [] : [{ language, text, section }]
  })
}

/** A command line in words. Quotes hold together, and a backslash joins lines. */
export const words = (line: string): ReadonlyArray<string> =>
  [...line.replaceAll("\\\n", " ").matchAll(/"([^"]*)"|'([^']*)'|[^\s"']+/g)].map(([whole, double, single]) =>
    double ?? single ?? whole
  )
