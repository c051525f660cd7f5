#!lua
-- needs: core switches counters warnings
-- Replaces the whole table of limits, unless a newer version is there; agents that were paused for a
-- daily budget which now has room go on.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; version; limits [[scope|period, nano-dollars], ...] (scope: `agent:coder`,
--         `agent:*` or `global`)
--
-- Keys: epoch, seq, closed, outbox, limits, limits_version, paused, c:{counter}, switches, kill:agent:{agent}.
--
-- Returns {'applied' | 'older', epoch, seq} or {'closed', epoch, seq, reason}

local table_ = cjson.decode(ARGV[2])

local function check_values()
  for _, limit in ipairs(table_.limits) do
    if not is_amount(limit[2]) then return 'the limit of ' .. limit[1] end
  end
  return nil
end

local function apply()
  local wrong = check_values()
  if wrong then return invalid(wrong) end
  local reason = gate(table_.seen)
  if reason then return {'closed', epoch or '0', seq, reason} end
  if table_.version < tonumber(redis.call('GET', key('limits_version')) or '0') then return {'older', epoch, seq} end
  step()
  redis.call('DEL', key('limits'))
  for _, limit in ipairs(table_.limits) do redis.call('HSET', key('limits'), limit[1], int(limit[2])) end
  redis.call('SET', key('limits_version'), int(table_.version))
  local paused = redis.call('HGETALL', key('paused'))
  for i = 1, #paused, 2 do
    if relieve(paused[i + 1]) then redis.call('HDEL', key('paused'), paused[i]) end
  end
  return {'applied', epoch, seq}
end

return apply()
