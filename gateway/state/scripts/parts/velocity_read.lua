-- Reads what an agent spent in the last `window_s` seconds without taking anything off.

local function read_velocity(agent, window_s)
  local at, total = key('v:' .. agent), 0
  local first = math.floor(now / 1000) - window_s
  local fields = redis.call('HGETALL', at)
  for i = 1, #fields, 2 do
    local second = tonumber(fields[i])
    if second and second >= first then total = total + tonumber(fields[i + 1]) end
  end
  return total
end
