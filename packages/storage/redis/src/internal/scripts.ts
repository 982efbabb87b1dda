/** What Redis does in one step. Each script names the keys that it touches, and all of them lie in one hash slot. */
import * as Redis from "effect/persistence/Redis"

/** The keys of one session, of its lease, or of a pending login. */
export interface Place {
  /** The hash of a session: `g` its generation, `d` its document, `k` its key. */
  readonly session: string
  /** The sorted set of the partition: each session by the time at which it is due, or at the end. */
  readonly dues: string
  /** The sorted set of the partition: each session by its name. */
  readonly names: string
  /** The session's name in both. */
  readonly id: string
}

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

// By how much the clock of Redis is ahead of the machine's own, where it is more than a command takes on its way: times that
// a machine names are meant by its clock, and compared with that of Redis.
const aheadOf = (argument: number) =>
  `${now}
local ahead = now - ARGV[${argument}]
if math.abs(ahead) < 2000 then ahead = 0 end`

/** Writes a document over the generation that is expected. The answer: whether, and what stood there instead. */
export const put = Redis.script(
  (place: Place, write: {
    readonly expected: number
    readonly generation: number
    readonly document: string
    readonly key: string
    readonly dueAt: string
    readonly now: number
    readonly channel: string
  }) => [
    place.session,
    place.dues,
    place.names,
    write.expected,
    write.generation,
    write.document,
    write.key,
    write.dueAt,
    place.id,
    write.channel,
    write.now
  ],
  {
    numberOfKeys: 3,
    // Generations are compared as texts, since Lua's numbers would round them. Redis undoes nothing of a script that fails: the
    // document comes last, after whatever may be refused.
    lua: `
local found = redis.call('HMGET', KEYS[1], 'g', 'd')
if (found[1] or '0') ~= ARGV[1] then return {0, found[1] or '0', found[2] or ''} end
${aheadOf(8)}
redis.call('PUBLISH', ARGV[7], ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[5] == '+inf' and ARGV[5] or ARGV[5] + ahead, ARGV[6])
redis.call('ZADD', KEYS[3], 0, ARGV[6])
redis.call('HSET', KEYS[1], 'g', ARGV[2], 'd', ARGV[3], 'k', ARGV[4])
return {1, ARGV[2], ''}`
  }
).withReturnType<readonly [isWritten: number, generation: string, document: string]>()

/** Removes a session of the generation that is expected; what is absent stays so. */
export const remove = Redis.script(
  (place: Place, expected: number, key: string, channel: string) => [
    place.session,
    place.dues,
    place.names,
    expected,
    place.id,
    key,
    channel
  ],
  {
    numberOfKeys: 3,
    lua: `
local found = redis.call('HMGET', KEYS[1], 'g', 'd')
if not found[1] then return {1, '0', ''} end
if found[1] ~= ARGV[1] then return {0, found[1], found[2] or ''} end
redis.call('PUBLISH', ARGV[4], ARGV[3])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
return {1, '0', ''}`
  }
).withReturnType<readonly [isWritten: number, generation: string, document: string]>()

/** Moves a session that is none aside, if it is still the same, and lets it end there. */
export const quarantine = Redis.script(
  (place: Place, aside: string, document: string, milliseconds: number) => [
    place.session,
    place.dues,
    place.names,
    aside,
    place.id,
    document,
    milliseconds
  ],
  {
    numberOfKeys: 4,
    lua: `
if (redis.call('HGET', KEYS[1], 'd') or '') ~= ARGV[2] then return 0 end
redis.call('RENAME', KEYS[1], KEYS[4])
redis.call('PEXPIRE', KEYS[4], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1`
  }
).withReturnType<number>()

/**
 * Makes the names of a partition those of its sessions again: programs of before the names had an index write and remove
 * sessions without it. They are compared one by one if `isSure`, else counted.
 */
export const index = Redis.script(
  (dues: string, names: string, isSure: boolean) => [dues, names, isSure ? 1 : 0],
  {
    numberOfKeys: 2,
    // it writes only where they differ, so that a replica can list what it has
    lua: `
if redis.call('ZCARD', KEYS[1]) == redis.call('ZCARD', KEYS[2])
  and (ARGV[1] == '0' or #redis.call('ZDIFF', 2, KEYS[1], KEYS[2]) == 0) then return end
redis.call('ZUNIONSTORE', KEYS[2], 1, KEYS[1], 'WEIGHTS', 0)`
  }
).withReturnType<null>()

/** Takes a session that is gone out of both indexes. */
export const forget = Redis.script(
  (place: Place) => [place.session, place.dues, place.names, place.id],
  {
    numberOfKeys: 3,
    lua: `
if redis.call('EXISTS', KEYS[1]) == 1 then return end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])`
  }
).withReturnType<null>()

/** Takes a lease where there is none; else says who has it. */
export const take = Redis.script(
  (lease: string, value: string, milliseconds: number) => [lease, value, milliseconds],
  {
    numberOfKeys: 1,
    lua: `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return '' end
return redis.call('GET', KEYS[1])`
  }
).withReturnType<string>()

/** Makes one's own lease last again. */
export const prolong = Redis.script(
  (lease: string, value: string, milliseconds: number) => [lease, value, milliseconds],
  {
    numberOfKeys: 1,
    lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`
  }
).withReturnType<number>()

/** Ends one's own lease. */
export const release = Redis.script(
  (lease: string, value: string) => [lease, value],
  {
    numberOfKeys: 1,
    lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`
  }
).withReturnType<number>()

/**
 * What of a partition is due, the earliest first: members and times in turn. Those whose key begins as one of `except` are
 * left out; their hashes lie in the slot of the partition.
 */
export const due = Redis.script(
  (dues: string, limit: number, except: ReadonlyArray<string>) => [dues, limit, ...except],
  {
    numberOfKeys: 1,
    lua: `${now}
local limit = tonumber(ARGV[1])
if #ARGV == 1 then return redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES') end
local found, sessions, offset = {}, string.sub(KEYS[1], 1, -5) .. 's:', 0
while #found < 2 * limit do
  local page = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', offset, 256, 'WITHSCORES')
  for index = 1, #page, 2 do
    local key, isOther = redis.call('HGET', sessions .. page[index], 'k') or '', true
    for other = 2, #ARGV do
      if string.sub(key, 1, #ARGV[other]) == ARGV[other] then isOther = false end
    end
    if isOther and #found < 2 * limit then
      found[#found + 1] = page[index]
      found[#found + 1] = page[index + 1]
    end
  end
  if #page < 512 then break end
  offset = offset + 256
end
return found`
  }
).withReturnType<ReadonlyArray<string>>()

/** Puts those off that are still due, and gives their keys. */
export const claim = Redis.script(
  (dues: string, milliseconds: number, places: ReadonlyArray<Pick<Place, "session" | "id">>) => [
    dues,
    ...places.map(({ session }) => session),
    milliseconds,
    ...places.map(({ id }) => id)
  ],
  {
    numberOfKeys: (_dues, _milliseconds, places) => places.length + 1,
    lua: `${now}
local claimed = {}
for index = 2, #KEYS do
  local at = redis.call('ZSCORE', KEYS[1], ARGV[index])
  if at and tonumber(at) <= now then
    redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[index])
    claimed[#claimed + 1] = redis.call('HGET', KEYS[index], 'k') or ''
  end
end
return claimed`
  }
).withReturnType<ReadonlyArray<string>>()

/** Makes a session due at another time, if there is one. */
export const putOff = Redis.script(
  (place: Pick<Place, "dues" | "id">, until: number, now: number) => [place.dues, place.id, until, now],
  {
    numberOfKeys: 1,
    lua: `${aheadOf(3)}
redis.call('ZADD', KEYS[1], 'XX', ARGV[2] + ahead, ARGV[1])`
  }
).withReturnType<null>()

/** How many of a partition are due, and since when the first. */
export const backlog = Redis.script(
  (dues: string, now: number) => [dues, now],
  {
    numberOfKeys: 1,
    lua: `${aheadOf(1)}
local first = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
return {redis.call('ZCOUNT', KEYS[1], '-inf', now), first[2] and string.format('%.17g', first[2] - ahead) or ''}`
  }
).withReturnType<readonly [count: number, first: string]>()
