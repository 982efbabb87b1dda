// The browser of the tests that need a real one.
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { chromium } from "playwright-core"

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium"

/** Whether this machine has one: for `it.skipIf`. */
export const isThere = existsSync(executablePath)

if (!isThere) {
  const missing =
    `no Chromium at ${executablePath}: what needs a real browser IS NOT TESTED; install it, or set CHROMIUM`
  if (process.env["CI"] !== undefined) throw new Error(missing)
  console.error(missing)
}

export const launched = Effect.acquireRelease(
  Effect.promise(() =>
    chromium.launch({
      executablePath,
      headless: true,
      chromiumSandbox: false,
      args: [
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--no-proxy-server",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"
      ]
    })
  ),
  (browser) => Effect.promise(() => browser.close())
)
