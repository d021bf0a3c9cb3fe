-- events: events made from hashes. Needs keys, time, json, fields.
-- include: log

local function emit_command(kind, receipt)
  emit('command.' .. kind, json_string(receipt.id), '{"command":' .. json_object(RECEIPT_FIELDS, receipt) .. '}')
end

-- cause: JSON text. Emits discovered, changed, removed or exhausted. Returns the error where it is a script's first write and refused.
local function emit_service(kind, snapshot, changed, previous, cause)
  return emit('service.' .. kind, json_string(snapshot.name), '{"service":' .. json_object(SNAPSHOT_FIELDS, snapshot) .. ',"changed":'
    .. json_list(changed) .. ',"previous_status":' .. (previous and json_string(previous) or 'null') .. ',"cause":' .. cause .. '}')
end
