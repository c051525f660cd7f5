#!lua flags=allow-oom
-- needs: core counters reservations
-- Prolongs the leases of attempts that their owner is still working on. Never shortens one: whoever only asks
-- how they are must not take a batch's day away.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; attempt_ids; lease_ms
--
-- Keys: epoch, seq, closed, outbox, pending, and of each attempt a:{attempt id}, call:{call}, live:{agent},
--       busy:{key}, c:{counter}.
--
-- Returns {'ok', epoch, seq, state, state, ...} with held | in_doubt | fenced | closed for each attempt,
--      or {'closed', epoch, seq, reason}

local ask = cjson.decode(ARGV[2])

-- in_doubt: it was late, and nobody took its place. fenced: a newer attempt of its call did.
local function lost(r)
  local live = redis.call('HGET', call_key(r.call), 'live')
  return live and live ~= r.id and 'fenced' or 'in_doubt'
end

local function hold_on(r)
  local lease = math.max(r.lease, now + ask.lease_ms)
  redis.call('HSET', reservation_key(r.id), 'lease', int(lease))
  list_pending(r.id, r.aside and '' or r.agent, r.busy, lease + r.grace)
  redis.call('PEXPIRE', call_key(r.call), int(CLOSED_KEEPS_MS))
  return 'held'
end

local function renew(attempt_id)
  local r = read_reservation(attempt_id)
  if not r or r.state == 'settled' or r.state == 'released' then return 'closed' end
  if r.state == 'pending' and r.lease + r.grace > now then return hold_on(r) end
  if r.state == 'pending' then doubt(r, 'sweep') end
  return lost(r)
end

local function renew_all()
  local reason = gate(ask.seen)
  if reason then return {'closed', epoch or '0', seq, reason} end
  local states = {'ok', epoch, seq}
  for i, attempt_id in ipairs(ask.attempt_ids) do states[i + 3] = renew(attempt_id) end
  step()
  states[3] = seq
  return states
end

return renew_all()
