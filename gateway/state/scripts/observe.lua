#!lua flags=allow-oom
-- needs: core switches
-- Compares switches with what anybody saw last and writes one `switch` event per change. Switches that
-- were seen set are looked at too, so that their end is noticed whoever asks.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: seen [epoch, seq]; names
--
-- Keys: epoch, seq, closed, outbox, switches, and the switches by their literal names.
--
-- Returns {'ok', epoch, seq, name, old, new, expires_at_ms or '0', name, ...} or {'closed', epoch, seq, reason}

local ask = cjson.decode(ARGV[2])

local function observe_all()
  local reason = gate(ask.seen)
  if reason then return {'closed', epoch or '0', seq, reason} end
  local names, listed = {}, {}
  for _, list in ipairs({ask.names, redis.call('HKEYS', key('switches'))}) do
    for _, name in ipairs(list) do
      if not listed[name] then names[#names + 1], listed[name] = name, true end
    end
  end
  local answer = {'ok', epoch, seq}
  for first = 1, #names, 1000 do
    local _, changes = observe({unpack(names, first, math.min(first + 999, #names))})
    for _, change in ipairs(changes) do
      for _, part in ipairs(change) do answer[#answer + 1] = part end
    end
  end
  answer[3] = seq
  return answer
end

return observe_all()
