#!lua flags=no-writes
-- needs: core counters velocity_read
-- How much of its day an agent has used, and how fast it spends.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: agent; window_s
--
-- Keys: agents, limits, c:{counter}, v:{agent}.
--
-- Returns {counter or '', limit or '', spent, held, in doubt, velocity in nano-dollars per window}

local ask = cjson.decode(ARGV[2])
local velocity = int(read_velocity(ask.agent, ask.window_s))
local counter = redis.call('HGET', key('agents'), ask.agent)
if not counter then return {'', '', '0', '0', '0', velocity} end
local c = read_counter(counter)
if c.ends > 0 and c.ends <= now then return {'', c.limit and int(c.limit) or '', '0', '0', '0', velocity} end
return {counter, c.limit and int(c.limit) or '', int(c.spent), int(c.held), int(c.in_doubt), velocity}
