-- What a budget that is nearly or wholly spent brings about (REQUIREMENTS 1 and 9).

local BUDGET = 'auto:budget:'
local WATCHED = {agent = true, team = true, global = true}

local function spent_level(c)
  if not c.limit or c.limit <= 0 then return 0 end
  if c.spent >= c.limit then return 100 end
  return c.spent >= share(c.limit, 800000) and 80 or 0
end

local function is_agent_day(c) return c.period == 'day' and begins(c.scope, 'agent:') end

local function budget_evidence(c)
  return string.format('{"counter":%s,"spent_nano_usd":%.0f,"limit_nano_usd":%.0f}',
    cjson.encode(c.counter), c.spent, c.limit)
end

local function pause_for_the_day(c)
  if not (c.switch and is_agent_day(c) and c.ends > now) then return end
  local value = string.format('%scurb:%s of %s spent', BUDGET, dollars(c.spent), dollars(c.limit))
  if set_own('kill:' .. c.scope, BUDGET, value, c.ends) then
    redis.call('HSET', key('paused'), c.scope, c.counter)
  end
end

-- After `spent` of a counter rose: each level is alerted once per window and crossing.
local function warn(counter)
  local scope, period = split(counter)
  if period ~= 'day' or not WATCHED[kind_of(scope)] then return end
  local c = read_counter(counter)
  local level = spent_level(c)
  if level > c.warned then
    redis.call('HSET', counter_key(counter), 'warned', int(level))
    if c.warned < 80 then alert('daily_budget_80', scope, budget_evidence(c)) end
    if level == 100 then alert('daily_budget_exceeded', scope, budget_evidence(c)) end
  end
  if level == 100 then pause_for_the_day(c) end
end

-- After a limit rose: lets the agent go on, and makes the levels above what is spent cross anew.
-- True when nothing of a pause is left.
local function relieve(counter)
  local c = read_counter(counter)
  local level = spent_level(c)
  if level < c.warned then redis.call('HSET', counter_key(counter), 'warned', int(level)) end
  if not is_agent_day(c) then return true end
  if c.limit and c.spent >= c.limit then return c.ends <= now end
  lift_own('kill:' .. c.scope, BUDGET)
  redis.call('HDEL', key('paused'), c.scope)
  return true
end
