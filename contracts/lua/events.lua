-- events: the room's numbered log. Needs keys, time, rfc3339, json, fields.
-- Invariant: within an epoch every event has the revision after the one before it, stands in `changes` under that id
-- and went out on the channel, in this order, from the script that caused it.
local EPOCH, REVISION
local STAMP = format_ms(NOW)

-- Reads the log's head; must be called before the first write. Returns an error reply when no event may be written:
-- NOEPOCH (no epoch of the contract's form, or `changes` is ahead of `meta`), or a key of a wrong type.
local function open_events()
  local wrong = require_types({META, 'hash', CHANGES, 'stream'})
  if wrong then return wrong end
  local head = redis.call('HMGET', META, 'epoch', 'revision')
  if not is_epoch(head[1]) or not is_revision(head[2]) then
    return redis.error_reply('NOEPOCH the room has no epoch yet')
  end
  EPOCH, REVISION = head[1], tonumber(head[2])
  if redis.call('EXISTS', CHANGES) == 1 then
    local info = redis.call('XINFO', 'STREAM', CHANGES)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' and tonumber(string.match(info[i + 1], '^%d+')) > REVISION then
        return redis.error_reply('NOEPOCH changes is ahead of meta')
      end
    end
  end
  return nil
end

-- The revision that the next event will have.
local function next_revision() return REVISION + 1 end

-- kind: after "pointsman."; data: JSON text of the data member.
local function emit(kind, subject, data)
  REVISION = REVISION + 1
  local text = string.format('%d', REVISION)
  local event = '{"specversion":"1.0","id":"' .. EPOCH .. '/' .. text .. '","source":"/rooms/' .. string.match(BASE, '{(.*)}')
    .. '","type":"pointsman.' .. kind .. '","subject":' .. json_string(subject) .. ',"time":"' .. STAMP
    .. '","epoch":"' .. EPOCH .. '","revision":"' .. text .. '","datacontenttype":"application/json","data":' .. data .. '}'
  redis.call('XADD', CHANGES, 'MAXLEN', '~', '100000', text .. '-0', 'event', event)
  redis.call('HSET', META, 'revision', text)
  redis.call('PUBLISH', EVENTS, event)
end

local function emit_command(kind, receipt)
  emit('command.' .. kind, receipt.id, '{"command":' .. json_object(RECEIPT_FIELDS, receipt) .. '}')
end

-- cause: JSON text. Emits discovered, changed, removed or exhausted.
local function emit_service(kind, snapshot, changed, previous, cause)
  emit('service.' .. kind, snapshot.name, '{"service":' .. json_object(SNAPSHOT_FIELDS, snapshot) .. ',"changed":'
    .. json_list(changed) .. ',"previous_status":' .. (previous and json_string(previous) or 'null') .. ',"cause":' .. cause .. '}')
end
