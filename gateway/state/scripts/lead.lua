#!lua flags=allow-oom
-- needs: core
-- Takes or prolongs a lease that one process of all holds, for example the monitor's.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: name; process_id; lease_ms
--
-- Keys: lead:{name}.
--
-- Returns 1 when this process holds it, else 0

local ask = cjson.decode(ARGV[2])
local at = key('lead:' .. ask.name)
local holder = redis.call('GET', at)
if holder and holder ~= ask.process_id then return 0 end
redis.call('SET', at, ask.process_id, 'PX', int(ask.lease_ms))
return 1
