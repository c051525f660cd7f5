#!lua flags=no-writes
-- needs: core counters
-- What counters say, with their limits, all at one instant. Counters that are gone are left out.
--
-- ARGV[1] prefix
-- ARGV[2] JSON: counters
--
-- Keys: limits, c:{counter}.
--
-- Returns {counter, limit or '', spent, held, in doubt, topped, ends, counter, ...}

local answer = {}
for _, counter in ipairs(cjson.decode(ARGV[2]).counters) do
  if redis.call('EXISTS', counter_key(counter)) == 1 then
    local c = read_counter(counter)
    for _, part in ipairs({counter, c.limit and int(c.limit) or '', int(c.spent), int(c.held), int(c.in_doubt),
      int(c.topped), int(c.ends)}) do
      answer[#answer + 1] = part
    end
  end
end
return answer
