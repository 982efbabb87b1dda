// Reads the JSDoc blocks of a source: what a module exports, and what is said of it. TypeScript 7 has no API to ask, so
// this scans text, and relies on the format that dprint gives it: a declaration starts in the first column.
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.join(import.meta.dirname, "../..")

/** The published packages whose modules a program imports, in the order in which a reader meets them. */
export const packages = [
  { name: "core", directory: "packages/core" },
  { name: "iam-oidc", directory: "packages/iam/oidc" },
  { name: "mcp", directory: "packages/mcp" },
  { name: "iam-datalayer", directory: "packages/iam/datalayer" },
  { name: "iam-genomcore", directory: "packages/iam/genomcore" },
  { name: "platform-node", directory: "packages/platform/node" },
  { name: "storage-keyring", directory: "packages/storage/keyring" },
  { name: "storage-sql", directory: "packages/storage/sql" },
  { name: "storage-redis", directory: "packages/storage/redis" },
  { name: "testing", directory: "packages/testing" },
  { name: "vault", directory: "packages/vault" }
]

/** The text and tags of a block, `/**` and stars taken off. */
const parse = (block) => {
  const lines = block.replace(/^\/\*\*|\*\/$/g, "").split("\n").map((line) => line.replace(/^\s*(?:\* ?)?/, "").trimEnd())
  const at = lines.findIndex((line) => line.startsWith("@"))
  const tags = at === -1 ? [] : lines.slice(at)
  return {
    text: (at === -1 ? lines : lines.slice(0, at)).join("\n").trim(),
    category: tags.map((tag) => /^@category (.+)/.exec(tag)?.[1]).find((category) => category !== undefined),
    isInternal: tags.some((tag) => tag.startsWith("@internal"))
  }
}

const nothing = { text: "", category: undefined, isInternal: false }

/** The block that ends right before `at`, if there is one. */
const blockBefore = (source, at) => {
  const match = /\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*$/.exec(source.slice(0, at))
  return match === null ? nothing : parse(match[0].trim())
}

/** The first sentence of a text, on one line. */
export const firstSentence = (text) => {
  const paragraph = text.split("\n\n")[0].replaceAll(/\s+/g, " ").trim()
  const list = paragraph.indexOf(": - ")
  const whole = list === -1 ? paragraph : `${paragraph.slice(0, list)}.`
  return /^.*?[.!?](?=\s+[A-Z`"*]|$)/.exec(whole)?.[0] ?? whole.replace(/:$/, ".")
}

/** Where the bracket that opens at `at` is closed. */
const closing = (source, at) => {
  let depth = 0
  for (let index = at; index < source.length; index++) {
    if (source.startsWith("/*", index)) index = source.indexOf("*/", index) + 1
    else if (source.startsWith("//", index)) index = source.indexOf("\n", index)
    else if (source[index] === "\"" || source[index] === "`") {
      const quote = source[index]
      for (index++; source[index] !== quote; index++) if (source[index] === "\\") index++
    } else if ("{([".includes(source[index])) depth++
    else if ("})]".includes(source[index]) && --depth === 0) return index
  }
  return source.length
}

const member = /^( +)(?:readonly |get |static |override )*(["\w]+)[?]?(?=[:(<])/

/** The members in the braces that open at `at`, with their blocks. */
const membersIn = (source, at) => {
  const body = source.slice(at + 1, closing(source, at))
  const indent = /\n( +)\S/.exec(body)?.[1].length
  const found = []
  let offset = 0
  for (const line of body.split("\n")) {
    const match = member.exec(line)
    const isMember = match !== null && match[1].length === indent && !/^ *(return|if|super|constructor)\b/.test(line)
    if (isMember) found.push({ name: match[2], ...blockBefore(body, offset) })
    offset += line.length + 1
  }
  return found.filter(({ isInternal }) => !isInternal)
}

const declaration = /^export (?:declare )?(?:abstract )?(const|class|interface|type|function) (\w+)/gm

/** A service's shape, an interface's members, the prototype of a class; of anything else nothing. */
const membersOf = (source, kind, from, to) => {
  const text = source.slice(from, to)
  const shape = /Context\.Service<\s*\w+,\s*\{/.exec(text)
  if (shape !== null) return { isService: true, members: membersIn(source, from + shape.index + shape[0].length - 1) }
  const opens = source.indexOf("{", from)
  if (kind === "interface" && opens < to) return { isService: false, members: membersIn(source, opens) }
  const isPlain = kind === "class" && !/Schema\.|Service|Data\./.test(text.slice(0, text.indexOf("{")))
  return { isService: isPlain, members: isPlain ? membersIn(source, opens) : [] }
}

const reexport = /^export \{([^}]+)\} from "(\.[^"]+)"/gm

/** What a text hands on from a module beside it, whose text `load` has; the words are said where it is declared. */
const handedOn = (source, load) =>
  [...source.matchAll(reexport)].flatMap(([, names, from]) => {
    const declared = readModule(load(from), from).exports
    return names.split(",").map((name) => name.trim().replace(/^type /, "")).filter((name) => name !== "").map((name) => {
      const found = declared.find((one) => one.name === name)
      return found ?? { name, kind: "const", isService: false, members: [], ...nothing }
    })
  })

/** The module that a text is: what is said of it, and each of its exports. */
export const readModule = (source, name, load = () => "") => {
  const header = /^\/\*\*(?:(?!\*\/)[\s\S])*\*\//.exec(source)
  const declarations = [...source.matchAll(declaration)]
  const exports = new Map(handedOn(source, load).map((one) => [one.name, one]))
  for (const [index, match] of declarations.entries()) {
    const [, kind, exported] = match
    const block = blockBefore(source, match.index)
    if (block.isInternal) continue
    const end = declarations[index + 1]?.index ?? source.length
    const { isService, members } = membersOf(source, kind, match.index, end)
    // A schema and its type have one name, overloads too: the first that says something speaks for all.
    const known = exports.get(exported)
    if (known === undefined || known.text === "") {
      exports.set(exported, { ...known, name: exported, kind: known?.kind ?? kind, isService, members, ...block })
    }
  }
  return { name, ...(header === null ? nothing : parse(header[0])), exports: [...exports.values()] }
}

/** The modules of a package, by name. */
export const modulesOf = ({ directory }) => {
  const source = path.join(root, directory, "src")
  return fs.readdirSync(source, { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => /^(?:[a-z]\w*\/)?[A-Z]\w*\.ts$/.test(file) && !file.includes("internal/"))
    .sort()
    .map((file) =>
      readModule(
        fs.readFileSync(path.join(source, file), "utf8"),
        file.slice(0, -3),
        (beside) => fs.readFileSync(path.join(source, path.dirname(file), beside), "utf8")
      )
    )
}
