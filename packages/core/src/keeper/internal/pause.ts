/**
 * A span of wall time, in epoch milliseconds, in which something is not tried again. A clock that was set back to before
 * its beginning ends it: otherwise a jump of hours would be waited for.
 */
export interface Pause {
  readonly from: number
  readonly until: number
}

export const over: Pause = { from: 0, until: 0 }

export const start = (now: number, millis: number): Pause => ({ from: now, until: now + Math.ceil(millis) })

/** How many milliseconds are left at `now`. */
export const remaining = (self: Pause, now: number): number => now < self.from ? 0 : Math.max(0, self.until - now)
