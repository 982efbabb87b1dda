/** The browser of a person who says yes: it follows redirects, and presses the one button of a page. */
import * as fs from "node:fs"

const [, , file = "", address = ""] = process.argv

fs.appendFileSync(file, `${address}\n`)
let response = await fetch(address)
const html = await response.text()
const pages = [html]
if (html.includes("<form")) {
  response = await fetch(address, { method: "POST" })
  pages.push(await response.text())
}
fs.appendFileSync(`${file}.pages`, pages.join("\n"))
