#!lua flags=allow-oom
-- needs: core breakers
-- Tells what an attempt said of its deployment. Closes, opens or pauses its circuit. No part of the order
-- of decisions: what is lost here is learned again from the next calls.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: deployment; attempt_id; outcome (good | bad | unknown); why; pause_ms (0: none asked for);
--         failures; of; ratio_ppm; remember_ms; open_ms; longest_ms
--
-- Keys: breaker:{deployment}.
--
-- Returns 'opened', 'closed', 'paused' or '' for no change

local ask = cjson.decode(ARGV[2])
local at = breaker_key(ask.deployment)
local b = read_breaker(ask.deployment)

local function lives_until(ms) redis.call('PEXPIREAT', at, int(ms + ask.remember_ms)) end

local function open()
  local trips = b.trips + 1
  local length_ms = math.max(ask.open_ms * 2 ^ math.min(trips - 1, 30), ask.pause_ms)
  local until_ms = now + math.min(length_ms, ask.longest_ms)
  redis.call('HSET', at, 'last', '', 'why', ask.why, 'trips', int(trips), 'open_until', int(until_ms))
  redis.call('HDEL', at, 'probe')
  lives_until(until_ms)
  return 'opened'
end

local function remember(letter)
  local last = string.sub(letter .. (b.last or ''), 1, ask.of)
  redis.call('HSET', at, 'last', last)
  return last
end

local function tried()
  if ask.outcome == 'bad' then return open() end
  if ask.outcome == 'good' then
    redis.call('DEL', at)
    return 'closed'
  end
  redis.call('HDEL', at, 'probe')
  return ''
end

local function count()
  if ask.outcome == 'good' then
    if b.last then remember('g') end
    return ''
  end
  local last = remember('b')
  redis.call('HSET', at, 'why', ask.why)
  lives_until(math.max(now, b.paused_until))
  local bad = bad_of(last)
  return bad >= ask.failures and bad * 1000000 >= ask.ratio_ppm * #last and open() or ''
end

local function pause()
  local until_ms = now + math.min(ask.pause_ms, ask.longest_ms)
  if until_ms <= b.paused_until then return '' end
  redis.call('HSETNX', at, 'last', '')
  redis.call('HSET', at, 'why', ask.why, 'paused_until', int(until_ms))
  lives_until(math.max(until_ms, b.open_until))
  return b.paused_until > now and '' or 'paused'
end

local function report()
  local changed = ''
  if b.probe == ask.attempt_id then
    changed = tried()
  elseif b.open_until == 0 and ask.outcome ~= 'unknown' then
    changed = count()
  end
  if ask.pause_ms > 0 and changed ~= 'opened' then return pause() end
  return changed
end

return report()
