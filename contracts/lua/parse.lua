-- parse: one stream entry's flat fields -> a command, or why not. Needs rfc3339, json. Agrees with contracts/codec.py.
-- Nothing that an entry can contain may make this throw.
-- include: stamp
local ENTRY_LIMIT, TEXT_LIMIT = 16384, 256
-- Returns the number of code points, or nil when the text is not UTF-8.
local function utf8_length(text)
  if not string.find(text, '[\128-\255]') then return #text end
  local count, i, size = 0, 1, #text
  while i <= size do
    local c = string.byte(text, i)
    local need, low, high = 0, 128, 191
    if c < 128 then need = 0
    elseif c >= 194 and c <= 223 then need = 1
    elseif c >= 224 and c <= 239 then
      need = 2
      if c == 224 then low = 160 elseif c == 237 then high = 159 end
    elseif c >= 240 and c <= 244 then
      need = 3
      if c == 240 then low = 144 elseif c == 244 then high = 143 end
    else return nil end
    for k = 1, need do
      local b = string.byte(text, i + k)
      if not b or b < low or b > high then return nil end
      low, high = 128, 191
    end
    i, count = i + need + 1, count + 1
  end
  return count
end

local function valid_service(text)
  return #text <= 128 and string.find(text, '^[A-Za-z0-9][A-Za-z0-9_.%-]*$') ~= nil
end

local function valid_id(text)
  return #text >= 1 and #text <= 128 and string.find(text, '^[A-Za-z0-9._:/%-]+$') ~= nil and not string.find(text, '^%d+%-%d+$')
end

-- Says what is wrong with the value of a known field, nil when it is right; false for a field that is not known.
local function wrong_value(name, x)
  if name == 'action' then
    if x ~= 'restart' and x ~= 'start' and x ~= 'stop' and x ~= 'enable' and x ~= 'disable' then return 'action must be one of restart, start, stop, enable, disable' end
  elseif name == 'service' then
    if not valid_service(x) then return 'service must be 1 to 128 of A-Z a-z 0-9 _ . - and begin with a letter or digit' end
  elseif name == 'id' then
    if not valid_id(x) then return 'id must be 1 to 128 of A-Z a-z 0-9 . _ : / - and not look like a stream id' end
  elseif name == 'v' then
    if x ~= '1' then return 'v must be 1: this system speaks contract version 1' end
  elseif name == 'timeout' then
    if not string.find(x, '^%d%d?%d?%d?$') or tonumber(x) > 3600 then return 'timeout must be whole seconds from 0 to 3600' end
  elseif name == 'expect_container_id' then
    if string.find(x, '[^0-9A-Fa-f]') or (#x ~= 12 and #x ~= 64) then return 'expect_container_id must be 12 or 64 hex digits' end
  elseif name == 'expect_started_at' then
    if #x > 64 then return 'expect_started_at must be at most 64 bytes' end
  elseif name == 'coalesce' then
    if x ~= '0' and x ~= '1' then return 'coalesce must be 0 or 1' end
  elseif name == 'traceparent' then
    if #x ~= 55 or not string.find(x, '^[0-9a-f]+%-[0-9a-f]+%-[0-9a-f]+%-[0-9a-f]+$')
      or string.sub(x, 3, 3) ~= '-' or string.sub(x, 36, 36) ~= '-' or string.sub(x, 53, 53) ~= '-' then
      return 'traceparent must be of the form 00-<32 hex>-<16 hex>-<2 hex>'
    end
  elseif name == 'tracestate' then
    if #x > 512 then return 'tracestate must be at most 512 bytes' end
  elseif name ~= 'issuer' and name ~= 'reason' and name ~= 'expires_at' and name ~= 'not_before' then
    return false
  end
  return nil
end

-- A field's name as a sentence can show it.
local function shown(name) return (string.gsub(string.sub(name, 1, 64), '[^%w_.:/%-]', '?')) end

-- Normalises a time of a command; returns why, or what is wrong with this time.
local function parse_time(command, name, why)
  if not command[name] then return why end
  local ms = parse_ms(command[name])
  command[name] = ms and format_ms(ms)
  command[name .. '_ms'] = ms
  return why or (not ms and name .. ' must be a UTC time such as 2026-01-01T00:00:00.000Z') or nil
end

-- flat: {name, value, ...}. Returns command, nil or partial, why. A command has the contract's fields as text, `id` only where
-- given, times normalised to milliseconds, expires_ms and not_before_ms as numbers. partial has what was valid (id, action, service).
local function parse_entry(flat)
  local size, command, why = 0, {}, nil
  local seen = {}
  for i = 1, #flat do size = size + #flat[i] end
  if size > ENTRY_LIMIT then why = 'the entry has ' .. size .. ' bytes, the limit is ' .. ENTRY_LIMIT end
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    if seen[name] then
      why = why or ('field ' .. shown(name) .. ' is given twice')
    elseif #name <= ENTRY_LIMIT and #value <= ENTRY_LIMIT then -- where not, the entry is too long, and that is said
      seen[name] = true
      local wrong = wrong_value(name, value)
      local known = wrong ~= false
      local length = (why and not known) or (known or utf8_length(name)) and utf8_length(value)
      if not length then
        why = why or ('field ' .. shown(name) .. ' is not UTF-8 text')
      elseif known then
        if name == 'issuer' or name == 'reason' then
          if length > TEXT_LIMIT then
            why = why or (name .. ' must be at most 256 characters')
          elseif length > 0 then command[name] = value end
        elseif length == 0 then
          why = why or ('field ' .. name .. ' is empty: give a value or leave the field out')
        elseif wrong then
          why = why or wrong
        else
          command[name] = value
        end
      end
    end
  end
  if not why and not command.action then why = 'field action is missing' end
  if not why and not command.service then why = 'field service is missing' end
  why = parse_time(command, 'expires_at', why)
  why = parse_time(command, 'not_before', why)
  if command.expires_at_ms and command.not_before_ms and command.not_before_ms >= command.expires_at_ms then
    why = why or 'not_before must be before expires_at'
  end
  if command.timeout then command.timeout = tostring(tonumber(command.timeout)) end
  if command.expect_container_id then command.expect_container_id = string.lower(command.expect_container_id) end
  if why then return nil, command, why end
  return command, nil, nil
end

-- The fingerprint says whether two commands ask for the same; it works on commands and on receipts.
local function fingerprint(c)
  return table.concat({c.action or '', c.service or '', c.timeout or '', string.sub(c.expect_container_id or '', 1, 12),
    c.expect_started_at or ''}, '\n')
end
