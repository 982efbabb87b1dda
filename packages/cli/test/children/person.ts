/** The browser of a person who says yes: it follows redirects, keeps cookies, and presses the one button of a page. */
import * as fs from "node:fs"

const [, , file = "", address = ""] = process.argv

const cookies = new Map<string, ReadonlyArray<string>>()
const pages: Array<string> = []

const open = async (address: URL, method = "GET"): Promise<void> => {
  const cookie = cookies.get(address.host)?.join("; ")
  const response = await fetch(address, { method, redirect: "manual", ...(cookie && { headers: { cookie } }) })
  const given = response.headers.getSetCookie().map((cookie) => cookie.replace(/;.*/, ""))
  if (given.length > 0) cookies.set(address.host, given)
  const html = await response.text()
  if (html !== "") pages.push(html)
  const location = response.headers.get("location")
  if (location !== null) await open(new URL(location, address))
  else if (html.includes("<form")) await open(address, "POST")
}

fs.appendFileSync(file, `${address}\n`)
await open(new URL(address))
fs.appendFileSync(`${file}.pages`, pages.join("\n"))
