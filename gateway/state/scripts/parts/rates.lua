-- Rates: how often something was asked for. One list for each rate and whom it counts, the times of the
-- last `limit` requests, the newest first: one more fits when the limit-th of them has left the window.
--
-- A rate is {name of its list, limit, window_ms, scope, rule, tier, each attempt 0|1}; a lane, which
-- counts calls in flight, is {kind (agent | key), its name, limit}.

local TRIES_PER_REQUEST = 4 -- a call that goes on and on being tried counts again after so many

local function rate_key(rate) return key('rate:' .. rate[1]) end

-- When one more fits: in the past or now, or later; nil: never.
local function fits_at(rate)
  if rate[2] == 0 then return nil end
  local at = redis.call('LINDEX', rate_key(rate), int(rate[2] - 1))
  return at and tonumber(at) + rate[3] or 0
end

local function count_in(rate)
  local at = rate_key(rate)
  redis.call('LPUSH', at, int(now))
  redis.call('LTRIM', at, 0, int(rate[2] - 1))
  redis.call('PEXPIRE', at, int(rate[3]))
end

-- The rates that this attempt is still to be counted in: not those that its call was counted in.
-- counted: names of lists, each between line feeds, never of one that counts each attempt; since: the
-- number of the attempt that was counted.
local function rates_due(rates, counted, since, number)
  if not counted or number >= since + TRIES_PER_REQUEST then return rates, '\n', number end
  local due = {}
  for _, rate in ipairs(rates) do
    if not string.find(counted, '\n' .. rate[1] .. '\n', 1, true) then due[#due + 1] = rate end
  end
  return due, counted, since
end

-- The rate that stands in the way for longest, and until when (nil: for ever); nil when all fit.
local function rate_in_the_way(due)
  local worst, worst_at = nil, 0
  for _, rate in ipairs(due) do
    local at = fits_at(rate)
    if not at then return rate, nil end
    if at > now and at > worst_at then worst, worst_at = rate, at end
  end
  return worst, worst_at
end

-- The lane that is full; nil when there is room in all.
local function full_lane(lanes)
  for _, lane in ipairs(lanes) do
    local at = lane[1] == 'agent' and live_key(lane[2]) or busy_key(lane[2])
    if redis.call('ZCOUNT', at, '(' .. int(now), '+inf') >= lane[3] then return lane end
  end
  return nil
end
