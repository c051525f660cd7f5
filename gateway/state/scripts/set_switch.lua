#!lua flags=allow-oom
-- needs: core switches
-- Sets or clears one switch. Works while admission is closed and while Redis is full: whatever else is
-- broken, things must be stoppable.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; name; value ('' clears); expires_ms (from now; 0: never);
--         only_if_unset 0|1; expected ('' for any: the value that is cleared, or set for longer)
--
-- Keys: epoch, seq, closed, outbox, switches, and the switch by its literal name.
--
-- Returns {'applied' | 'unchanged', epoch, seq}

local s = cjson.decode(ARGV[2])

local function change()
  local current = none_if_empty(redis.call('GET', s.name))
  if s.value == '' then
    if not current or (s.expected ~= '' and current ~= s.expected) then return 'unchanged' end
    redis.call('DEL', s.name)
    return 'applied'
  end
  if s.only_if_unset == 1 and current then return 'unchanged' end
  if s.expected ~= '' and current ~= s.expected then return 'unchanged' end
  if s.expires_ms > 0 then
    redis.call('SET', s.name, s.value, 'PX', int(s.expires_ms))
  else
    redis.call('SET', s.name, s.value)
  end
  return 'applied'
end

local closed = gate(s.seen)
local result = change()
if not closed then observe({s.name}) end
return {result, epoch or '0', seq}
