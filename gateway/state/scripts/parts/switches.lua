-- Switches: plain keys that anybody may set; any non-empty value switches.

local function begins(text, start) return string.sub(text, 1, #start) == start end

local function none_if_empty(value) return value and value ~= '' and value or nil end

local function expiry(name)
  local at = redis.call('PEXPIRETIME', name)
  return at > 0 and at or 0
end

local function note_switch(name, old, new)
  local expires = new and expiry(name) or 0
  if new then redis.call('HSET', key('switches'), name, new) else redis.call('HDEL', key('switches'), name) end
  emit('switch', '{"name":' .. cjson.encode(name) .. ',"old":' .. cjson.encode(old or '')
    .. ',"new":' .. cjson.encode(new or '') .. ',"expires_at_ms":' .. (expires > 0 and int(expires) or 'null') .. '}')
  return {name, old or '', new or '', int(expires)}
end

-- The values of these switches now; whatever differs from what anybody saw last becomes an event.
local function observe(names)
  local values = redis.call('MGET', unpack(names))
  local seen = redis.call('HMGET', key('switches'), unpack(names))
  local changes = {}
  for i, name in ipairs(names) do
    local old, new = none_if_empty(seen[i]), none_if_empty(values[i])
    values[i] = new or false
    if old ~= new then changes[#changes + 1] = note_switch(name, old, new) end
  end
  return values, changes
end

-- Sets a switch where none is set, or prolongs one whose value begins with `own`. until_ms nil: no end.
local function set_own(name, own, value, until_ms)
  local current = none_if_empty(redis.call('GET', name))
  if not current then
    if until_ms then redis.call('SET', name, value, 'PXAT', int(until_ms)) else redis.call('SET', name, value) end
    observe({name})
    return true
  end
  if until_ms and begins(current, own) then
    local at = expiry(name)
    if at > 0 and at < until_ms then redis.call('PEXPIREAT', name, int(until_ms)) end
  end
  return false
end

local function lift_own(name, own)
  local current = redis.call('GET', name)
  if not (current and begins(current, own)) then return false end
  redis.call('DEL', name)
  observe({name})
  return true
end
