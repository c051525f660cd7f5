#!lua flags=allow-oom
-- needs: core server
-- Closes admission.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: reason
--
-- Keys: epoch, seq, closed.
--
-- Returns {'closed', epoch or '0', seq, reason, run id of the server}

local state = redis.call('MGET', key('epoch'), key('seq'))
local reason = shut(cjson.decode(ARGV[2]).reason)
return {'closed', state[1] or '0', state[2] or '0', reason, server()}
