#!lua
-- needs: core server
-- Opens admission in a new epoch: the last thing that a rebuild does. Not on another server than the
-- one that the rebuild began on: what was loaded may be lacking there.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: epoch; server (the run id that close_epoch returned)
--
-- Keys: epoch, seq, closed, server.
--
-- Returns {'opened' | 'open already' | 'restarted', epoch, seq}

local ask = cjson.decode(ARGV[2])
local state = redis.call('MGET', key('epoch'), key('seq'))
if state[1] then return {'open already', state[1], state[2] or '0'} end
if ask.server ~= server() then return {'restarted', '0', '0'} end
redis.call('SET', key('server'), ask.server)
redis.call('SET', key('seq'), '0')
redis.call('DEL', key('closed'))
redis.call('SET', key('epoch'), int(ask.epoch))
return {'opened', int(ask.epoch), '0'}
