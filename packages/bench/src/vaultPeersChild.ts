// A process of a peer: it asks for the token of each of many people when it is told to, and says how many it did not get.
import type { Asked, Orders } from "./vaultPeers.ts"

const { concurrency, count, kind, origin, place }: Orders = JSON.parse(process.argv[2] ?? "")

const asker = async (): Promise<(index: number) => Promise<unknown>> => {
  switch (kind) {
    case "SET NX PX": {
      const Peers = await import("./storagesPeers.ts")
      const redis = await Peers.redis(place)
      return (index) => Peers.worker(redis, origin, `session-${index}`)()
    }
    case "MSAL": {
      const [Peers, { msalAccount, msalAsk }] = await Promise.all([
        import("./storagesPeers.ts"),
        import("./renewalPeers.ts")
      ])
      const redis = await Peers.redis(place)
      return async (index) => {
        const client = Peers.msal(redis, origin, `person-${index}`)
        return msalAsk(client, await msalAccount(client))
      }
    }
    case "better-auth":
      return (await import("./vaultPeersLibraries.ts")).betterAsk(place, origin)
    case "Auth.js":
      return (await import("./vaultPeersLibraries.ts")).authJsAsk(place, origin)
  }
}

const ask = await asker()
console.log("ready")
await new Promise((resolve) => process.stdin.once("data", resolve))
let next = 0
let without = 0
const began = performance.now()
await Promise.all(Array.from({ length: concurrency }, async () => {
  while (next < count) {
    const index = next
    next += 1
    await ask(index).catch(() => {
      without += 1
    })
  }
}))
console.log(JSON.stringify({ without, millis: performance.now() - began } satisfies Asked))
process.exit(0)
