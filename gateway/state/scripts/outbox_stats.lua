#!lua flags=no-writes
-- needs: core
-- How long the outbox is and how old its oldest entry.
--
-- ARGV[1] prefix
--
-- Keys: outbox.
--
-- Returns {entries, age of the oldest in ms}

local length = redis.call('XLEN', key('outbox'))
local oldest = redis.call('XRANGE', key('outbox'), '-', '+', 'COUNT', 1)[1]
local age = oldest and now - tonumber(string.match(oldest[1], '^%d+')) or 0
return {length, math.max(age, 0)}
