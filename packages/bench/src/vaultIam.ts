// An IAM in a process of its own, so that what is measured here neither waits for it nor makes it late.
import { Effect } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import * as Path from "node:path"

export interface Orders {
  /** How long an answer takes, and how long a token lives, in milliseconds. */
  readonly latency: number
  readonly life: number
}

export type Report =
  | { readonly port: number }
  | { readonly renewals: ReadonlyArray<readonly [at: number, family: number]>; readonly lost: number }

export interface Renewed {
  /** When the request arrived. */
  readonly at: number
  readonly family: number
}

export interface VaultIam {
  readonly issuer: string
  readonly renewals: ReadonlyArray<Renewed>
  /** Families that ended because a spent token came. */
  readonly lost: () => number
}

/** As long as the scope is open. */
export const make = (orders: Orders) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly child: ChildProcess; readonly iam: VaultIam }>((resume) => {
        const renewals: Array<Renewed> = []
        let lost = 0
        const child = fork(Path.join(import.meta.dirname, "vaultIamChild.ts"), [JSON.stringify(orders)])
        child.on("message", (report: Report) => {
          if ("port" in report) {
            const issuer = `http://127.0.0.1:${report.port}`
            return resume(Effect.succeed({ child, iam: { issuer, renewals, lost: () => lost } }))
          }
          for (const [at, family] of report.renewals) renewals.push({ at, family })
          lost = report.lost
        })
      }),
      ({ child }) => Effect.sync(() => child.kill())
    ),
    ({ iam }) => iam
  )
