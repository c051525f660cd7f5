-- Reservations: one hash per attempt, and where it is listed while it is pending.

local CLOSED_KEEPS_MS = 48 * 3600000
local LISTED_KEEPS_MS = 3600000

local function reservation_key(attempt_id) return key('a:' .. attempt_id) end

local function call_key(call) return key('call:' .. call) end

local function live_key(agent) return key('live:' .. agent) end

local function busy_key(id) return key('busy:' .. id) end

-- Nil, or {state, amount, counters (JSON text), day, agent, call, number, lease, grace, process_id, by,
-- busy ('', or the key among whose calls in flight it is counted), aside (whether it is no call in flight)}
local function read_reservation(attempt_id)
  local f = redis.call('HMGET', reservation_key(attempt_id), 'state', 'amount', 'counters', 'day', 'agent',
    'call', 'number', 'lease', 'grace', 'process_id', 'by', 'busy', 'aside')
  if not f[1] then return nil end
  return {id = attempt_id, state = f[1], amount = tonumber(f[2] or '0'), counters = f[3] or '[]', day = f[4] or '',
    agent = f[5] or '', call = f[6] or '', number = f[7] or '', lease = tonumber(f[8] or '0'),
    grace = tonumber(f[9] or '0'), process_id = f[10] or '', by = f[11] or '', busy = f[12] or '',
    aside = f[13] == '1'}
end

local function about(r) return {day = r.day, attempt_id = r.id, number = r.number, counters = r.counters} end

local function list_live(at, attempt_id, deadline)
  redis.call('ZADD', at, int(deadline), attempt_id)
  redis.call('PEXPIRE', at, int(LISTED_KEEPS_MS))
end

-- agent, busy: among whose calls in flight it is counted; '' for nobody's.
local function list_pending(attempt_id, agent, busy, deadline)
  redis.call('ZADD', key('pending'), int(deadline), attempt_id)
  if agent ~= '' then list_live(live_key(agent), attempt_id, deadline) end
  if busy ~= '' then list_live(busy_key(busy), attempt_id, deadline) end
end

local function unlist(r)
  redis.call('ZREM', key('pending'), r.id)
  redis.call('ZREM', live_key(r.agent), r.id)
  if r.busy ~= '' then redis.call('ZREM', busy_key(r.busy), r.id) end
end

-- Moves the amount out of `from` in every counter that the reservation was charged to; adds
-- `amount` to `to`. A counter whose window is long gone stays gone.
local function move(r, from, to, amount)
  local counters = cjson.decode(r.counters)
  for _, counter in ipairs(counters) do
    local at = counter_key(counter)
    if redis.call('EXISTS', at) == 1 then
      redis.call('HINCRBY', at, from, int(-r.amount))
      if to then redis.call('HINCRBY', at, to, int(amount)) end
    end
  end
  return counters
end

-- pending -> in doubt: it stays counted, at its bound, until somebody knows what it cost.
local function doubt(r, by, body)
  move(r, 'held', 'in_doubt', r.amount)
  redis.call('HSET', reservation_key(r.id), 'state', 'in_doubt', 'by', by)
  unlist(r)
  emit('in_doubt', body or ('{"attempt_id":' .. cjson.encode(r.id) .. ',"state":"in_doubt","by":"' .. by .. '"}'), about(r))
end

-- Turns reservations whose lease and grace lapsed into in doubt, `limit` at most. Their number.
local function sweep(limit)
  local overdue = redis.call('ZRANGEBYSCORE', key('pending'), '-inf', int(now), 'LIMIT', 0, limit)
  for _, attempt_id in ipairs(overdue) do
    local r = read_reservation(attempt_id)
    if r and r.state == 'pending' then
      doubt(r, 'sweep')
    else
      redis.call('ZREM', key('pending'), attempt_id)
    end
  end
  return #overdue
end
