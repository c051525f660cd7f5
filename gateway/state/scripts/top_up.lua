#!lua
-- needs: core switches counters warnings
-- Adds to the limit of one counter, for its window only. Idempotent by top-up id.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; top_up_id; counter; amount
-- ARGV[3] body of the `top_up` event (JSON)
--
-- Keys: epoch, seq, closed, outbox, topped:{top-up id}, c:{counter}, counters, limits, paused, switches,
--       kill:agent:{agent}.
--
-- Returns {'applied' | 'already', epoch, seq, at_ms, limit or '', spent, held, in doubt}
--      or {'closed', epoch, seq, reason}

local t = cjson.decode(ARGV[2])

local function answer(result, at)
  local c = read_counter(t.counter)
  return {result, epoch, at, int(now), c.limit and int(c.limit) or '', int(c.spent), int(c.held), int(c.in_doubt)}
end

local function top_up()
  if not is_amount(t.amount) then return invalid('the amount must be whole nano-dollars below 2^53') end
  if not split(t.counter) then return invalid('counter ' .. t.counter) end
  local c = read_counter(t.counter)
  if not is_amount((c.limit or c.topped) + t.amount) then return invalid('the limit would pass 2^53 nano-dollars') end
  local reason = gate(t.seen)
  if reason then return {'closed', epoch or '0', seq, reason} end
  if not redis.call('SET', key('topped:' .. t.top_up_id), '1', 'NX', 'PX', int(COUNTER_KEEPS_MS)) then
    return answer('already', seq)
  end
  local is_new = redis.call('EXISTS', counter_key(t.counter)) == 0
  redis.call('HINCRBY', counter_key(t.counter), 'topped', int(t.amount))
  if is_new then keep(t.counter, 0) end
  emit('top_up', ARGV[3], {counters = cjson.encode({t.counter})})
  local at = seq
  relieve(t.counter)
  return answer('applied', at)
end

return top_up()
