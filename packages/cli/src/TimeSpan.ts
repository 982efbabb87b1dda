/**
 * Spans of time as people write and read them. It loads nothing, for the sake of `ReadyToken`.
 */

const seconds: { readonly [unit: string]: number } = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 }

/**
 * Reads `90`, `90s`, `15m`, `2h` or `1d` as seconds; everything else is `undefined`.
 */
export const parse = (text: string): number | undefined => {
  const [, digits, unit = ""] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? []
  return digits === undefined ? undefined : Number(digits) * (seconds[unit] ?? 1)
}

const units: ReadonlyArray<readonly [name: string, seconds: number]> = [["d", 86_400], ["h", 3600], ["min", 60], [
  "s",
  1
]]

/**
 * A span in milliseconds for people, by its two largest units: `2 d 3 h`, `42 min`, `9 s`.
 */
export const format = (millis: number): string => {
  let rest = Math.max(0, Math.round(millis / 1000))
  const words: Array<string> = []
  for (const [name, size] of units) {
    const count = Math.floor(rest / size)
    rest -= count * size
    // "42 min" says enough, "1 min 9 s" is worth its second word
    if (count > 0 && (words.length === 0 || (words.length === 1 && !/^\d\d/.test(words[0] ?? "")))) {
      words.push(`${count} ${name}`)
    } else if (words.length > 0) break
  }
  return words.length === 0 ? "0 s" : words.join(" ")
}

/**
 * That one span is less than another, in words that tell them apart: `59 min 59 s` and `1 h` may both be read as an hour.
 */
export const shortfall = (left: number, wanted: number): string => {
  const [has, lacks] = [format(left), format(wanted)]
  return has === lacks
    ? `${Math.floor(left) / 1000} s only, less than the ${wanted / 1000} s`
    : `${has} only, less than the ${lacks}`
}

/**
 * Where an instant lies, seen from `now`: `in 5 min`, `9 s ago`.
 */
export const distance = (at: number, now: number): string =>
  at >= now ? `in ${format(at - now)}` : `${format(now - at)} ago`
