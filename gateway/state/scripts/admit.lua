#!lua
-- needs: core switches counters warnings reservations rates breakers
-- Holds an amount in every scope of a call, or says why not. Writes nothing but what it noticed
-- (switch changes, overdue reservations) when it refuses. Rates are looked at before budgets, and counted
-- only when the amount is held: who is refused for money has not used up a rate, nor the other way round.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; call; nonce (of this ask: the same nonce gets the same answer);
--         at_least (attempt numbers already used elsewhere); process_id; agent; deployment; provider;
--         asked; lease_ms; grace_ms; outbox_max; switches [[name, scope], ...]; throttle (a switch's name);
--         pressure_ppm (0: no rule); daily_switch 0|1; windows [[id, start_ms, end_ms], ...];
--         lines [[scope, period, [window numbers from 1], default limit or -1, hard 0 | soft 1 | alert only 2], ...]
--         and, where there are any: rates and lanes, as parts/rates.lua says; busy (a key whose calls in
--         flight are counted); circuit 1 (whether the deployment's breaker is looked at); aside 1 (it is no
--         call in flight: its provider works in its own time)
-- ARGV[3] body of the `reserved` event (JSON)
--
-- Keys: epoch, seq, closed, outbox, pending, limits, switches, paused, counters, call:{call},
--       a:{attempt id}, live:{agent}, busy:{key}, rate:{rate}, breaker:{deployment}, c:{counter} of each
--       line, and the switches by their literal names.
--
-- Returns {'held', epoch, seq, attempt id, number, counters (JSON), day, at_ms, alerts (JSON), watched 0|1
--          (whether the breaker wants to know how it ends, also when it ends well), and of the hard budget
--          that has least left: scope|period|amount ('' where there is none)}
--      or {'refused', epoch, seq, kind, scope, period, limit, spent, held, in doubt, retry_at_ms or '', detail}
--         and for rate_limited after that: rule, tier, limit, window_ms (0: calls in flight)
--      or {'closed', epoch, seq, reason}

local ask = cjson.decode(ARGV[2])
local HARDNESS = {never_fits = 3, exhausted = 2, contended = 1}
local breaker = nil -- the deployment's, as parts/breakers.lua reads it
local due = nil -- {rates to count this attempt in, rates that its call was counted in, since which attempt}

local function refused(kind, scope, detail, retry_at)
  return {'refused', epoch, seq, kind, scope, '', '0', '0', '0', '0', retry_at and int(retry_at) or '', detail}
end

local function soon() return now + 1000 + now % 1000 end

local function check_values()
  if not is_amount(ask.asked) then return 'asked must be a whole number of nano-dollars below 2^53' end
  if #ask.lines == 0 then return 'a call needs at least one budget line' end
  for _, line in ipairs(ask.lines) do
    if line[4] ~= -1 and not is_amount(line[4]) then return 'the default limit of ' .. line[1] end
  end
  return nil
end

local function window_of(line)
  for _, i in ipairs(line[3]) do
    local window = ask.windows[i]
    if window[3] == 0 or (window[2] <= now and now < window[3]) then return window end
  end
  return nil
end

-- The first scope none of whose windows holds the time of Redis; nil when all have one.
local function without_window()
  for _, line in ipairs(ask.lines) do
    if not window_of(line) then return line[1] end
  end
  return nil
end

-- The reservation that this very ask already got, when redis-py sends it again after a lost reply.
local function same_again(r)
  local f = redis.call('HMGET', reservation_key(r.id), 'seq', 'at_ms', 'alerts', 'watched', 'left')
  return {'held', epoch, f[1] or seq, r.id, r.number, r.counters, r.day, f[2] or int(now), f[3] or '[]',
    f[4] or '0', f[5] or ''}
end

-- Nil when the way is free; an answer otherwise. A lapsed attempt of the same call is fenced.
local function other_attempt(call)
  if not call[2] then return nil end
  local r = read_reservation(call[2])
  if not r then return nil end
  if call[3] == ask.nonce and (r.state == 'pending' or r.state == 'in_doubt') then return same_again(r) end
  if r.state ~= 'pending' then return nil end
  if r.lease > now then
    return refused('in_flight', '', 'attempt ' .. r.id .. ' of this call is alive', math.min(r.lease, soon()))
  end
  doubt(r, 'fence')
  return nil
end

local function switched()
  local names = {}
  for i, switch in ipairs(ask.switches) do names[i] = switch[1] end
  names[#names + 1] = ask.throttle
  local values = observe(names)
  for i, switch in ipairs(ask.switches) do
    if values[i] then
      local at = expiry(names[i])
      return refused('switched', switch[2], names[i] .. ' is set: ' .. values[i], at > 0 and at or nil)
    end
  end
  if values[#names] and redis.call('ZCOUNT', live_key(ask.agent), '(' .. int(now), '+inf') > 0 then
    return refused('throttled', 'agent:' .. ask.agent, ask.throttle .. ' is set: ' .. values[#names], soon())
  end
  return nil
end

-- An open circuit leaves the deployment out; a half-open one lets one attempt try it at a time.
local function circuit_open()
  if not ask.circuit or redis.call('EXISTS', breaker_key(ask.deployment)) == 0 then return nil end
  breaker = read_breaker(ask.deployment)
  local wait = math.max(breaker.open_until, breaker.paused_until)
  local scope = 'model:' .. ask.deployment
  if wait > now then return refused('unavailable', scope, 'its circuit is open: ' .. breaker.why, wait) end
  if breaker.open_until > 0 and is_trying(breaker.probe) then
    return refused('unavailable', scope, 'its circuit is half-open, and a call is trying it: ' .. breaker.why, soon())
  end
  return nil
end

-- '1' when the breaker wants to know how this attempt ends.
local function watch(attempt_id)
  if not breaker then return '0' end
  if breaker.open_until > 0 then redis.call('HSET', breaker_key(ask.deployment), 'probe', attempt_id) end
  redis.call('HSET', reservation_key(attempt_id), 'watched', '1')
  return '1'
end

local function rate_limited(scope, retry_at, rule, tier, limit, window_ms)
  local answer = refused('rate_limited', scope, '', retry_at)
  for _, part in ipairs({rule, tier, int(limit), int(window_ms)}) do answer[#answer + 1] = part end
  return answer
end

local function too_often(used)
  local lane = ask.lanes and full_lane(ask.lanes)
  if lane then return rate_limited(lane[1] .. ':' .. lane[2], soon(), 'in_flight', '', lane[3], 0) end
  if not ask.rates then return nil end
  local f = redis.call('HMGET', call_key(ask.call), 'rated', 'rated_at')
  due = {rates_due(ask.rates, f[1], tonumber(f[2] or '0'), math.max(used, ask.at_least) + 1)}
  local rate, at = rate_in_the_way(due[1])
  return rate and rate_limited(rate[4], at, rate[5], rate[6], rate[2], rate[3])
end

local function count_rates()
  local names = due[2]
  for _, rate in ipairs(due[1]) do
    count_in(rate)
    if rate[7] == 0 then names = names .. rate[1] .. '\n' end
  end
  redis.call('HSET', call_key(ask.call), 'rated', names, 'rated_at', int(due[3]))
end

-- Every line with its window, counter, limit and numbers as they stand now.
local function read_lines()
  local fields, lines = {}, {}
  for _, line in ipairs(ask.lines) do
    fields[#fields + 1], fields[#fields + 2] = limit_fields(line[1], line[2])
  end
  local limits = redis.call('HMGET', key('limits'), unpack(fields))
  for i, line in ipairs(ask.lines) do
    local window = window_of(line)
    local counter = line[1] .. '|' .. line[2] .. '|' .. window[1]
    local f = redis.call('HMGET', counter_key(counter), 'spent', 'held', 'in_doubt', 'topped', 'default',
      'until', 'switch', 'told', 'ends')
    local default = line[4] >= 0 and line[4] or (line[2] == 'run' and tonumber(f[5] or '')) or nil
    local base = tonumber(limits[2 * i - 1] or '') or default or tonumber(limits[2 * i] or '')
    local topped = tonumber(f[4] or '0')
    lines[i] = {scope = line[1], period = line[2], counter = counter, window = window, mode = line[5],
      limit = base and base + topped, default = default, stored_default = f[5], kept_until = tonumber(f[6] or '0'),
      spent = tonumber(f[1] or '0'), held = tonumber(f[2] or '0'), in_doubt = tonumber(f[3] or '0'),
      switch = f[7], told = f[8], ends = f[9]}
  end
  return lines
end

local function verdict(line)
  if not line.limit or line.spent + line.held + line.in_doubt + ask.asked <= line.limit then return nil end
  if ask.asked > line.limit then return 'never_fits' end
  if line.spent + ask.asked > line.limit then return 'exhausted' end
  return 'contended'
end

local function numbers_of(line, kind, retry_at, detail)
  return {'refused', epoch, seq, kind, line.scope, line.period, int(line.limit or 0), int(line.spent),
    int(line.held), int(line.in_doubt), retry_at and int(retry_at) or '', detail or ''}
end

local function refuse_line(line, kind)
  local retry_at = nil
  if kind == 'contended' then retry_at = soon() end
  if kind == 'exhausted' and line.window[3] > 0 then retry_at = line.window[3] end
  return numbers_of(line, kind, retry_at)
end

-- The hardest refusal wins: hard lines before soft ones, then by kind, then in order.
local function over_budget(lines)
  local worst, worst_rank, worst_kind, over = nil, 0, nil, {}
  for _, line in ipairs(lines) do
    local kind = verdict(line)
    if kind and line.mode == 2 then
      over[#over + 1] = line
    elseif kind then
      local rank = HARDNESS[kind] + (line.mode == 0 and 10 or 0)
      if rank > worst_rank then worst, worst_rank, worst_kind = line, rank, kind end
    end
  end
  return worst and refuse_line(worst, worst_kind), over
end

local function under_pressure(lines)
  if ask.pressure_ppm == 0 then return nil end
  for _, line in ipairs(lines) do
    local used = line.spent + line.held + line.in_doubt
    if line.period == 'day' and line.scope == 'agent:' .. ask.agent and line.limit and line.limit > 0
      and used >= share(line.limit, ask.pressure_ppm) then
      return numbers_of(line, 'pressure', nil, 'the budget is nearly spent')
    end
  end
  return nil
end

local function charge(line)
  local at = counter_key(line.counter)
  redis.call('HINCRBY', at, 'held', int(ask.asked))
  local default = line.default and int(line.default)
  if default and default ~= line.stored_default then
    redis.call('HSET', at, 'default', default)
  elseif not default and line.stored_default then
    redis.call('HDEL', at, 'default')
  end
  local agent_day = line.period == 'day' and line.scope == 'agent:' .. ask.agent
  if agent_day and line.switch ~= int(ask.daily_switch) then redis.call('HSET', at, 'switch', int(ask.daily_switch)) end
  local ages = line.window[3] == 0 and line.kept_until - now < RUN_KEEPS_MS - DAY_MS
  if ages or line.ends ~= int(line.window[3]) then
    keep(line.counter, line.window[3])
    if agent_day then redis.call('HSET', key('agents'), ask.agent, line.counter) end
  end
end

local function next_number(used)
  local number = math.max(used, ask.at_least) + 1
  while redis.call('EXISTS', reservation_key(ask.call .. '#' .. int(number))) == 1 do number = number + 1 end
  return number
end

local function soft_alerts(over)
  local scopes = {}
  for i, line in ipairs(over) do
    scopes[i] = line.scope
    if not line.told then
      redis.call('HSET', counter_key(line.counter), 'told', '1')
      alert('soft_budget_exceeded', line.scope, budget_evidence(line))
    end
  end
  return #scopes > 0 and cjson.encode(scopes) or '[]'
end

-- The hard budget that has least left once this is held.
local function least_left(lines)
  local least, left = nil, 0
  for _, line in ipairs(lines) do
    if line.limit and line.mode == 0 then
      local rest = line.limit - line.spent - line.held - line.in_doubt - ask.asked
      if not least or rest < left then least, left = line, rest end
    end
  end
  return least and least.scope .. '|' .. least.period .. '|' .. int(left) or ''
end

local function hold(lines, over, used)
  local number = int(next_number(used))
  local attempt_id, counters, charged, day = ask.call .. '#' .. number, {}, {}, ''
  for _, line in ipairs(lines) do
    if not charged[line.counter] then
      charge(line)
      charged[line.counter] = true
      counters[#counters + 1] = line.counter
    end
    if day == '' and line.period == 'day' then day = line.window[1] end
  end
  local alerts = soft_alerts(over)
  local listed, left = cjson.encode(counters), least_left(lines)
  emit('reserved', ARGV[3], {day = day, attempt_id = attempt_id, number = number, counters = listed})
  redis.call('HSET', reservation_key(attempt_id), 'state', 'pending', 'amount', int(ask.asked),
    'counters', listed, 'day', day, 'agent', ask.agent, 'call', ask.call, 'number', number,
    'lease', int(now + ask.lease_ms), 'grace', int(ask.grace_ms), 'process_id', ask.process_id,
    'deployment', ask.deployment, 'provider', ask.provider, 'seq', seq, 'at_ms', int(now), 'alerts', alerts,
    'left', left)
  if ask.busy then redis.call('HSET', reservation_key(attempt_id), 'busy', ask.busy) end
  if ask.aside then redis.call('HSET', reservation_key(attempt_id), 'aside', '1') end
  list_pending(attempt_id, ask.aside and '' or ask.agent, ask.busy or '', now + ask.lease_ms + ask.grace_ms)
  redis.call('HSET', call_key(ask.call), 'number', number, 'live', attempt_id, 'nonce', ask.nonce)
  if due then count_rates() end
  redis.call('PEXPIRE', call_key(ask.call), int(CLOSED_KEEPS_MS))
  return {'held', epoch, seq, attempt_id, number, listed, day, int(now), alerts, watch(attempt_id), left}
end

local function admit()
  local wrong = check_values()
  if wrong then return invalid(wrong) end
  local reason = gate(ask.seen)
  if reason then return {'closed', epoch or '0', seq, reason} end
  local no_window = without_window()
  if no_window then
    return refused('unavailable', no_window, 'no window holds the time of Redis: clocks differ by a day', nil)
  end
  local call = redis.call('HMGET', call_key(ask.call), 'number', 'live', 'nonce')
  if call[3] ~= ask.nonce and redis.call('XLEN', key('outbox')) >= ask.outbox_max then
    return refused('unavailable', '', 'the outbox is full: the ledger is not being written', soon())
  end
  local other = other_attempt(call)
  if other then return other end
  local used = tonumber(call[1] or '0')
  local no = switched() or circuit_open() or too_often(used)
  if no then return no end
  sweep(4)
  local lines = read_lines() -- after the sweep, which moves money from held to in doubt
  local refusal, over = over_budget(lines)
  no = refusal or under_pressure(lines)
  if no then return no end
  return hold(lines, over, used)
end

return admit()
