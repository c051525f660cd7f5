#!lua flags=allow-oom
-- needs: core counters reservations
-- Turns reservations whose lease and grace lapsed into in doubt.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; limit (how many at most)
--
-- Keys: epoch, seq, closed, outbox, pending, and of each a:{attempt id}, live:{agent}, busy:{key},
--       c:{counter}.
--
-- Returns {'ok', epoch, seq, how many} or {'closed', epoch, seq, reason}

local ask = cjson.decode(ARGV[2])
local reason = gate(ask.seen)
if reason then return {'closed', epoch or '0', seq, reason} end
local swept = sweep(ask.limit)
return {'ok', epoch, seq, int(swept)}
