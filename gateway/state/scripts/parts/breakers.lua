-- Circuit breakers: one hash per deployment, there only when a call has been bad lately. Fields: last (the
-- last calls, the newest first, a letter each: b bad, g good), why, trips, open_until, probe (the attempt
-- that tries a half-open circuit), paused_until.

local function breaker_key(deployment) return key('breaker:' .. deployment) end

-- The reservation's hash is in the way of a second try while its attempt is pending.
local function is_trying(attempt_id)
  return attempt_id and redis.call('HGET', key('a:' .. attempt_id), 'state') == 'pending'
end

local function read_breaker(deployment)
  local f = redis.call('HMGET', breaker_key(deployment), 'last', 'why', 'trips', 'open_until', 'probe', 'paused_until')
  return {last = f[1], why = f[2] or '', trips = tonumber(f[3] or '0'), open_until = tonumber(f[4] or '0'),
    probe = f[5], paused_until = tonumber(f[6] or '0')}
end

local function bad_of(last)
  local _, bad = string.gsub(last, 'b', '')
  return bad
end
