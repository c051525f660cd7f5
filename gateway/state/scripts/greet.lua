#!lua flags=allow-oom
-- needs: core server
-- Run on every new connection before anything else: closes admission when the epoch was opened on
-- another server, or on this one before it was restarted.
--
-- ARGV[1] prefix
--
-- Keys: epoch, closed, server.
--
-- Returns 1 when the epoch is of this server or there is none, else 0

if redis.call('EXISTS', key('epoch')) == 0 then return 1 end
if redis.call('GET', key('server')) == server() then return 1 end
shut('Redis was restarted or failed over, and may have lost its last writes')
return 0
