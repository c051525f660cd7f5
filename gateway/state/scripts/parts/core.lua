-- Every script: key names, the clock, exact numbers, the gate of the epoch, the outbox.
-- ARGV[1]: the prefix of all keys but switches. Amounts and times are whole numbers below 2^53;
-- Lua has doubles only and would print 2e+14, so no number becomes text but through int().

local prefix = ARGV[1]

local function key(name) return prefix .. name end

-- + 0 turns -0, which Redis would refuse in the middle of a script, into 0.
local function int(number) return string.format('%.0f', number + 0) end

local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local now = clock()
local epoch, seq = false, '0'

local function is_amount(value)
  return type(value) == 'number' and value >= 0 and value <= 9007199254740991 and value == math.floor(value)
end

local function invalid(what) return redis.error_reply('CURBINVALID ' .. what) end

local function shut(reason)
  redis.call('DEL', key('epoch'))
  redis.call('SET', key('closed'), reason)
  return reason
end

-- Nil while admission is open, else why it is closed. A (epoch, seq) below the highest that a
-- caller has seen means that Redis lost writes: that closes admission for everybody.
local function gate(seen)
  local state = redis.call('MGET', key('epoch'), key('seq'))
  epoch, seq = state[1], state[2] or '0'
  if not epoch then
    return redis.call('GET', key('closed')) or 'the budgets in Redis are not loaded'
  end
  if tonumber(epoch) < seen[1] or (tonumber(epoch) == seen[1] and tonumber(seq) < seen[2]) then
    return shut(string.format('Redis was thrown back from decision %.0f.%.0f to %s.%s',
      seen[1], seen[2], epoch, seq))
  end
  return nil
end

local function step() seq = int(redis.call('INCR', key('seq'))) end

-- One entry of the outbox, at a place of its own in the order of decisions.
local function emit(kind, body, about)
  about = about or {}
  step()
  redis.call('XADD', key('outbox'), '*', 'kind', kind, 'body', body, 'epoch', epoch, 'seq', seq,
    'at_ms', int(now), 'day', about.day or '', 'attempt_id', about.attempt_id or '',
    'number', about.number or '', 'counters', about.counters or '')
end

-- evidence: JSON text of an object. Text goes through cjson, amounts never do.
local function alert(rule, scope, evidence)
  emit('alert', '{"rule":' .. cjson.encode(rule) .. ',"scope":' .. cjson.encode(scope)
    .. ',"evidence":' .. evidence .. '}')
end

local function dollars(nano) return string.format('$%.2f', nano / 1e9) end
