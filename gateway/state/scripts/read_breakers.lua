#!lua flags=no-writes
-- needs: core breakers
-- The circuits of these deployments as they stand.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: deployments
--
-- Keys: breaker:{deployment}, and a:{attempt id} of the attempt that tries one.
--
-- Returns {circuit, until_ms, bad, calls, trips, probing 0|1, why, circuit, ...}

local answer = {}
for _, deployment in ipairs(cjson.decode(ARGV[2]).deployments) do
  local b = read_breaker(deployment)
  local circuit, until_ms = 'closed', 0
  if b.paused_until > now then circuit, until_ms = 'paused', b.paused_until end
  if b.open_until > now then
    circuit, until_ms = 'open', math.max(b.open_until, b.paused_until)
  elseif b.open_until > 0 and circuit == 'closed' then
    circuit = 'half_open'
  end
  local last = b.last or ''
  for _, part in ipairs({circuit, int(until_ms), int(bad_of(last)), int(#last), int(b.trips),
    is_trying(b.probe) and '1' or '0', b.why}) do
    answer[#answer + 1] = part
  end
end
return answer
