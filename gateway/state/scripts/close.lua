#!lua flags=allow-oom
-- needs: core switches counters warnings reservations velocity
-- Ends one attempt: settled, released or in doubt. Idempotent by attempt id; settled is final.
-- A full Redis stops buying, not accounting.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; attempt_id; state (settled | released | in_doubt); cost; basis;
--         process_id; velocity {window_s, alert, pause, pause_ms, global} (amounts in nano-dollars)
-- ARGV[3] body of the event: the settlement (JSON)
--
-- Keys: epoch, seq, closed, outbox, a:{attempt id}, pending, live:{agent}, busy:{key}, c:{counter} of
--       the reservation, limits, v:{agent}, switches, paused, and kill:global, kill:agent:{agent}, throttle:agent:{agent}.
--
-- Returns {'applied' | 'already' | 'unknown' | 'refused', epoch, seq, day, at_ms, seq of the event}
--      or {'closed', epoch, seq, reason}

local s = cjson.decode(ARGV[2])
local placed = '0' -- where the event of this very decision stands

local function tell(kind, r)
  emit(kind, ARGV[3], about(r))
  placed = seq
end

local function forget(r, state)
  local at = reservation_key(r.id)
  unlist(r)
  redis.call('DEL', at)
  redis.call('HSET', at, 'state', state)
  redis.call('PEXPIRE', at, int(CLOSED_KEEPS_MS))
end

local function held_in(r) return r.state == 'pending' and 'held' or 'in_doubt' end

local function settle(r)
  local counters = move(r, held_in(r), 'spent', s.cost)
  forget(r, 'settled')
  tell('settled', r)
  if s.cost > r.amount then
    alert('over_bound', 'agent:' .. r.agent, string.format(
      '{"attempt_id":%s,"reserved_nano_usd":%.0f,"cost_nano_usd":%.0f}', cjson.encode(r.id), r.amount, s.cost))
  end
  if s.cost > 0 then
    -- Only what a provider reported as it happened; estimates and later corrections are no velocity.
    if s.basis == 'usage' then spend_velocity(r.agent, s.cost, s.velocity) end
    for _, counter in ipairs(counters) do warn(counter) end
  end
  return 'applied'
end

-- Of what is in doubt only the owner can say that it was never sent.
local function release(r)
  if r.state == 'in_doubt' and not (s.basis == 'not_sent' and s.process_id == r.process_id) then return 'refused' end
  move(r, held_in(r), nil, 0)
  forget(r, 'released')
  tell('released', r)
  return 'applied'
end

-- What a sweep or a fence put in doubt gets the owner's word (its estimate) once.
local function leave_in_doubt(r)
  if r.state == 'pending' then
    doubt(r, 'owner', ARGV[3])
    placed = seq
  elseif r.by ~= 'owner' then
    redis.call('HSET', reservation_key(r.id), 'by', 'owner')
    tell('in_doubt', r)
  else
    return 'already'
  end
  return 'applied'
end

local WAYS = {settled = settle, released = release, in_doubt = leave_in_doubt}

local function close()
  if not is_amount(s.cost) then return invalid('the cost must be a whole number of nano-dollars below 2^53') end
  if not WAYS[s.state] then return invalid('state ' .. tostring(s.state)) end
  local reason = gate(s.seen)
  if reason then return {'closed', epoch or '0', seq, reason} end
  local r = read_reservation(s.attempt_id)
  if not r then return {'unknown', epoch, seq, '', int(now), placed} end
  if r.state ~= 'pending' and r.state ~= 'in_doubt' then
    return {'already', epoch, seq, r.day, int(now), placed}
  end
  local result = WAYS[s.state](r)
  return {result, epoch, seq, r.day, int(now), placed}
end

return close()
