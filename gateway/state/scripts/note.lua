#!lua
-- needs: core reservations
-- Writes an event that moves no money: a refusal or an alert. A refusal is numbered per call.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; kind (refused | alert); call ('' for alerts); nonce; outbox_max
-- ARGV[3] body of the event (JSON)
--
-- Keys: epoch, seq, closed, outbox, call:{call}.
--
-- Returns {'noted' | 'already' | 'full', epoch, seq, at_ms, attempt id, number} or {'closed', epoch, seq, reason}

local n = cjson.decode(ARGV[2])

local function refusal_id()
  local at = call_key(n.call)
  if redis.call('HGET', at, 'refusal') == n.nonce then return nil end
  local number = int(redis.call('HINCRBY', at, 'refusals', 1))
  redis.call('HSET', at, 'refusal', n.nonce)
  redis.call('PEXPIRE', at, int(CLOSED_KEEPS_MS))
  return n.call .. '/r/' .. number, number
end

local function note()
  local reason = gate(n.seen)
  if reason then return {'closed', epoch or '0', seq, reason} end
  if redis.call('XLEN', key('outbox')) >= n.outbox_max then return {'full', epoch, seq, int(now), '', '0'} end
  local attempt_id, number = '', '0'
  if n.kind == 'refused' then
    attempt_id, number = refusal_id()
    if not attempt_id then return {'already', epoch, seq, int(now), '', '0'} end
  end
  emit(n.kind, ARGV[3], {attempt_id = attempt_id, number = number})
  return {'noted', epoch, seq, int(now), attempt_id, number}
end

return note()
