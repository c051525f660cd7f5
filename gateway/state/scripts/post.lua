#!lua flags=allow-oom
-- needs: core switches counters warnings
-- Adds an amount (also a negative one) to what counters have spent: adjustments and adopted usage.
-- Idempotent by posting id. Never part of velocity.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; posting_id; counters; amount; day; attempt_id
-- ARGV[3] body of the `posted` event (JSON)
--
-- Keys: epoch, seq, closed, outbox, posted:{posting id}, c:{counter}, counters, limits, switches, paused,
--       kill:agent:{agent}.
--
-- Returns {'applied' | 'already', epoch, seq, at_ms} or {'closed', epoch, seq, reason}

local p = cjson.decode(ARGV[2])

local function post()
  if not is_amount(math.abs(p.amount)) then return invalid('the amount must be whole nano-dollars below 2^53') end
  for _, counter in ipairs(p.counters) do
    if not split(counter) then return invalid('counter ' .. counter) end
  end
  local reason = gate(p.seen)
  if reason then return {'closed', epoch or '0', seq, reason} end
  if not redis.call('SET', key('posted:' .. p.posting_id), '1', 'NX', 'PX', int(COUNTER_KEEPS_MS)) then
    return {'already', epoch, seq, int(now)}
  end
  for _, counter in ipairs(p.counters) do
    local is_new = redis.call('EXISTS', counter_key(counter)) == 0
    redis.call('HINCRBY', counter_key(counter), 'spent', int(p.amount))
    if is_new then keep(counter, 0) end
  end
  emit('posted', ARGV[3], {day = p.day, attempt_id = p.attempt_id, counters = cjson.encode(p.counters)})
  local at = seq
  if p.amount > 0 then
    for _, counter in ipairs(p.counters) do warn(counter) end
  end
  return {'applied', epoch, at, int(now)}
end

return post()
