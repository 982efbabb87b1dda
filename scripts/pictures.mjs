// Makes docs/pictures/*.svg: what a person sees at a terminal of 80 columns (another width may be given). Needs the bundle
// (npm run build) and python3.
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { stripVTControlCharacters } from "node:util"

const root = path.join(import.meta.dirname, "..")
const columns = Number(process.argv[2] ?? 80)
const target = process.argv[3] ?? path.join(root, "docs/pictures")
const authn = path.join(root, "packages/cli/dist/authn.js")
const home = fs.mkdtempSync(path.join(os.tmpdir(), "authn-"))
const env = { PATH: process.env.PATH, HOME: home, TZ: "UTC", TERM: "xterm-256color", AUTHN_STORAGE: "plain-file" }

const terminal = (args, script = []) => {
  const shown = execFileSync("python3", [
    path.join(root, "packages/cli/test/terminal.py"),
    String(columns),
    "40",
    JSON.stringify(script),
    process.execPath,
    authn,
    ...args
  ], { env, encoding: "utf8" })
  return shown.slice(0, shown.lastIndexOf("\n"))
}

/** What is on the screen in the end. */
const screen = (text) => {
  const lines = [[]]
  let row = 0
  let column = 0
  let style = ""
  // Control characters are what it is about.
  // oxlint-disable-next-line eslint/no-control-regex
  for (const [part, code, kind] of text.matchAll(/\x1b\[([?\d;]*)([A-Za-z])|\x1b[\]()][^\x07]*\x07?|[\s\S]/g)) {
    const count = Number(code || 1)
    if (kind === "m") style = code === "0" || code === "" ? "" : /^(0|22|39)$/.test(code) ? "" : code
    else if (kind === "A") row = Math.max(0, row - count)
    else if (kind === "B") row += count
    else if (kind === "C") column += count
    else if (kind === "D") column = Math.max(0, column - count)
    else if (kind === "G") column = count - 1
    else if (kind === "J") lines.splice(row, Infinity, (lines[row] ?? []).slice(0, column))
    else if (kind === "K") lines[row] = code === "2" ? [] : (lines[row] ?? []).slice(0, column)
    else if (part === "\r") column = 0
    else if (part === "\n") row += 1
    else if (part >= " ") {
      lines[row] ??= []
      while (lines[row].length < column) lines[row].push({ text: " ", style: "" })
      lines[row][column] = { text: part, style }
      column += 1
    }
  }
  for (let at = 0; at < lines.length; at++) lines[at] ??= []
  while (lines.length > 0 && lines.at(-1).length === 0) lines.pop()
  return lines
}

const colours = { 1: "font-weight=\"bold\"", 2: "opacity=\"0.6\"", 31: "fill=\"#ff7b72\"", 32: "fill=\"#7ee787\"", 33: "fill=\"#f2cc60\"", 36: "fill=\"#79c0ff\"" }
const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const svg = (lines) => {
  const [width, height] = [8.4, 19]
  const body = lines.map((line, row) => {
    const runs = []
    for (const cell of line) {
      const { style, text } = cell ?? { style: "", text: " " }
      if (runs.at(-1)?.style === style) runs.at(-1).text += text
      else runs.push({ style, text })
    }
    const spans = runs.map(({ style, text }) => {
      const attributes = style.split(";").map((code) => colours[code]).filter(Boolean).join(" ")
      return attributes === "" ? escape(text) : `<tspan ${attributes}>${escape(text)}</tspan>`
    }).join("")
    return `<text x="16" y="${32 + row * height}" xml:space="preserve">${spans}</text>`
  }).join("\n")
  const [w, h] = [Math.ceil(columns * width + 32), lines.length * height + 36]
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}">\n` +
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n` +
    `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="#e6edf3">\n${body}\n</g>\n</svg>\n`
}

const server = spawn(
  process.execPath,
  [path.join(root, "packages/testing/src/bin/simulator.ts"), "--token-lifetime", "1 hour"],
  { stdio: ["ignore", "pipe", "ignore"] }
)
try {
  const { issuer } = JSON.parse(await new Promise((resolve) => server.stdout.once("data", (data) => resolve(`${data}`))))
  const password = "correct-horse-battery"
  const picture = (name, typed, args, script) => {
    const shown = terminal(args, script).replaceAll(home, "/home/ada").replaceAll("^C", "")
    if (shown.includes(password) || shown.includes("eyJ")) throw new Error(`${name} shows a secret`)
    const lines = screen(`\x1b[2m$\x1b[0m ${typed}\r\n${shown}`)
    const wide = lines.find((line) => line.length > columns)
    if (wide !== undefined) console.error(`${name}: a line is ${wide.length} wide`)
    fs.writeFileSync(path.join(target, `${name}.svg`), svg(lines))
    console.log(`\n## ${name}\n${stripVTControlCharacters(lines.map((line) => line.map((cell) => cell?.text ?? " ").join("")).join("\n"))}`)
  }
  picture("login", "authn login", ["login"], [
    ["speak", "\r"],
    ["Address", `${issuer}\r`],
    ["Sign in with", "\r"],
    ["Name", "ada\r"],
    ["Password of ada", `${password}\r`]
  ])
  execFileSync(process.execPath, [
    authn, "login", "--account", "work", "--dialect", "genomcore", "--issuer", issuer, "--handle", "ada", "--organization", "acme",
    "--password-stdin"
  ], { env, input: password, stdio: ["pipe", "ignore", "ignore"] })
  picture("status", "authn status --watch", ["status", "--watch"], [["Ctrl-C ends[\\s\\S]*Ctrl-C ends", "\x03"]])
  picture("explain", "authn explain", ["explain"])
  picture("doctor", "authn doctor", ["doctor"])
  picture("help", "authn --help", ["--help"])
} finally {
  server.kill()
  fs.rmSync(home, { recursive: true, force: true })
}
