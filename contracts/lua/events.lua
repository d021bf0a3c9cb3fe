-- events: the log for scripts that write before they tell, and events made from hashes. Needs keys, time, json, fields.
-- include: log

-- Reads the log's head; must be called before the first write. Returns an error reply when no event may be written:
-- NOEPOCH (no epoch of the contract's form, or `changes` is ahead of `meta`), or a key of a wrong type.
local function open_events()
  local wrong = require_types({META, 'hash', CHANGES, 'stream'}) or open_log()
  if wrong then return wrong end
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

local function emit_command(kind, receipt)
  emit('command.' .. kind, json_string(receipt.id), '{"command":' .. json_object(RECEIPT_FIELDS, receipt) .. '}')
end

-- cause: JSON text. Emits discovered, changed, removed or exhausted. Returns the error where it is a script's first write and refused.
local function emit_service(kind, snapshot, changed, previous, cause)
  return emit('service.' .. kind, json_string(snapshot.name), '{"service":' .. json_object(SNAPSHOT_FIELDS, snapshot) .. ',"changed":'
    .. json_list(changed) .. ',"previous_status":' .. (previous and json_string(previous) or 'null') .. ',"cause":' .. cause .. '}')
end
