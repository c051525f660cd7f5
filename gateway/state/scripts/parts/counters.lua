-- Counters: one hash per scope and window, fields spent, held, in_doubt, topped, and what is
-- needed to find its limit and its end later: default, ends, until, warned, switch.

local DAY_MS = 86400000
local COUNTER_KEEPS_MS = 40 * DAY_MS
local RUN_KEEPS_MS = 35 * DAY_MS

local function counter_key(counter) return key('c:' .. counter) end

-- 'agent:coder|day|2026-11-21' -> 'agent:coder', 'day', '2026-11-21'. A scope may hold a '|'.
local function split(counter) return string.match(counter, '^(.*)|([^|]*)|([^|]*)$') end

local function kind_of(scope) return string.match(scope, '^([^:]*)') end

local function limit_fields(scope, period)
  return scope .. '|' .. period, kind_of(scope) .. ':*|' .. period
end

-- Registers a counter and gives it its lifetime. ends: end of its window, 0 for a run's.
local function keep(counter, ends)
  local gone = ends > 0 and ends + COUNTER_KEEPS_MS or now + RUN_KEEPS_MS
  local at = counter_key(counter)
  redis.call('HSET', at, 'ends', int(ends), 'until', int(gone))
  redis.call('PEXPIREAT', at, int(gone))
  redis.call('ZADD', key('counters'), int(gone), counter)
  redis.call('ZREMRANGEBYSCORE', key('counters'), '-inf', int(now))
end

-- The amount that is `ppm` millionths of a limit, exactly, rounded up: used >= it is "at 80 %".
local function share(limit, ppm)
  local whole = math.floor(limit / 1000000)
  return whole * ppm + math.ceil((limit - whole * 1000000) * ppm / 1000000)
end

-- {counter, scope, period, limit (nil: unlimited), spent, held, in_doubt, topped, ends, warned, switch}
local function read_counter(counter)
  local scope, period = split(counter)
  local f = redis.call('HMGET', counter_key(counter), 'spent', 'held', 'in_doubt', 'topped', 'default',
    'ends', 'warned', 'switch')
  local limits = redis.call('HMGET', key('limits'), limit_fields(scope, period))
  local base = tonumber(limits[1] or f[5] or limits[2] or '')
  local topped = tonumber(f[4] or '0')
  return {counter = counter, scope = scope, period = period, limit = base and base + topped,
    spent = tonumber(f[1] or '0'), held = tonumber(f[2] or '0'), in_doubt = tonumber(f[3] or '0'),
    topped = topped, ends = tonumber(f[6] or '0'), warned = tonumber(f[7] or '0'), switch = f[8] == '1'}
end
