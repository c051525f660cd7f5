-- Velocity: what an agent spent in the last `window_s` seconds, in buckets of one second with a
-- running total, so that a settlement costs the same however busy the agent is.
-- Hash v:{agent}: {second} -> nano-dollars, total, oldest (first second still counted), level.

local VELOCITY = 'auto:velocity:'
local RULES = {'velocity_warning', 'velocity_critical', 'velocity_global'}

local function velocity_key(agent) return key('v:' .. agent) end

-- The total after what left the window is taken off; and the first second that still counts.
local function age_velocity(at, total, oldest, first)
  for second = oldest, first - 1 do -- bounded: the hash expires a minute after its window
    local amount = redis.call('HGET', at, int(second))
    if amount then
      total = total - tonumber(amount)
      redis.call('HDEL', at, int(second))
    end
  end
  return total, math.max(oldest, first)
end

local function velocity_level(total, v)
  if total > v.global then return 3 end
  if total > v.pause then return 2 end
  return total > v.alert and 1 or 0
end

local function act_on_velocity(agent, total, level, before, v)
  local why = string.format('%s%s in %.0f s', VELOCITY .. 'curb:', dollars(total), v.window_s)
  for crossed = before + 1, level do
    alert(RULES[crossed], 'agent:' .. agent,
      string.format('{"spent_nano_usd":%.0f,"window_seconds":%.0f}', total, v.window_s))
  end
  if level >= 1 then set_own('throttle:agent:' .. agent, VELOCITY, why, now + v.window_s * 1000) end
  if level >= 2 then set_own('kill:agent:' .. agent, VELOCITY, why, now + v.pause_ms) end
  if level >= 3 then set_own('kill:global', VELOCITY, why, nil) end
  if level == 0 and before > 0 then lift_own('throttle:agent:' .. agent, VELOCITY) end
end

local function spend_velocity(agent, cost, v)
  local at, second = velocity_key(agent), math.floor(now / 1000)
  local f = redis.call('HMGET', at, 'total', 'oldest', 'level')
  local total, oldest = age_velocity(at, tonumber(f[1] or '0'), math.min(tonumber(f[2] or int(second)), second), second - v.window_s)
  total = total + cost
  local level = velocity_level(total, v)
  redis.call('HINCRBY', at, int(second), int(cost))
  redis.call('HSET', at, 'total', int(total), 'oldest', int(oldest), 'level', int(level))
  redis.call('PEXPIRE', at, int((v.window_s + 60) * 1000))
  act_on_velocity(agent, total, level, tonumber(f[3] or '0'), v)
end
