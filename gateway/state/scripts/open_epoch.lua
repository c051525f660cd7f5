#!lua
-- needs: core
-- Opens admission in a new epoch: the last thing that a rebuild does.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: epoch
--
-- Keys: epoch, seq, closed.
--
-- Returns {'opened' | 'open already', epoch, seq}

local ask = cjson.decode(ARGV[2])
local state = redis.call('MGET', key('epoch'), key('seq'))
if state[1] then return {'open already', state[1], state[2] or '0'} end
redis.call('SET', key('seq'), '0')
redis.call('DEL', key('closed'))
redis.call('SET', key('epoch'), int(ask.epoch))
return {'opened', int(ask.epoch), '0'}
