#!lua flags=allow-oom
-- needs: core counters
-- Forgets what is listed and gone: counters past their end of life, the day counters of agents that spent
-- nothing since, pauses of days that are over. Nothing that a decision reads.
--
-- ARGV[1] prefix
--
-- Keys: counters, agents, paused, c:{counter}.
--
-- Returns {'ok', how many}

local function prune(list, is_over)
  local entries, gone = redis.call('HGETALL', key(list)), 0
  for i = 1, #entries, 2 do
    if is_over(counter_key(entries[i + 1])) then
      redis.call('HDEL', key(list), entries[i])
      gone = gone + 1
    end
  end
  return gone
end

local function is_gone(at) return redis.call('EXISTS', at) == 0 end

local function has_ended(at) return tonumber(redis.call('HGET', at, 'ends') or '0') <= now end

local counters = redis.call('ZREMRANGEBYSCORE', key('counters'), '-inf', int(now))
return {'ok', int(counters + prune('agents', is_gone) + prune('paused', has_ended))}
