-- Which run of which server this is: a restart or a failover may have lost the last second of
-- writes, and a sequence number that was counted up again since would not show it.

local function server() return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or 'unknown' end
