-- receipts: settle a command, bury it. Needs keys, time, rfc3339, json, fields, events, parse.
-- include: receipt
local SETTLED = {succeeded = true, rejected = true, failed = true, expired = true, canceled = true, dead = true}

-- Appends to a stream of ours. One whose ids somebody used up is put aside, so that no script fails midway over it.
local function append(stream, limit, flat)
  local added = redis.pcall('XADD', stream, 'MAXLEN', limit, '*', unpack(flat))
  if type(added) == 'table' then
    if not string.find(added.err, 'exhausted') then error(added.err) end
    redis.call('RENAME', stream, stream .. ':full:' .. string.format('%d', NOW))
    added = redis.call('XADD', stream, 'MAXLEN', limit, '*', unpack(flat))
  end
  return added
end

-- Fills in the outcome, numbers and publishes the event, writes the hash, starts the window after which the id is free again.
local SETTLE_WRITES = {
  'status', 'code', 'error', 'message', 'changed', 'attempt', 'worker', 'started_at', 'finished_at', 'recovered', 'revision', 'lease',
  'before_container_id', 'before_started_at', 'before_finished_at', 'called_at', 'after_container_id', 'after_started_at',
}
local function settle_receipt(receipt, outcome, window, kind)
  for name, value in pairs(outcome) do receipt[name] = value end
  receipt.finished_at = STAMP
  receipt.revision = next_revision()
  emit_command(kind or (receipt.status == 'dead' and 'dead' or 'settled'), receipt)
  write_receipt(receipt, SETTLE_WRITES)
  redis.call('PEXPIRE', receipt_key(receipt.id), window)
end

-- pcall: a receipt that somebody wrote by hand may name no entry.
local function drop_entry(entry)
  if entry then
    redis.pcall('XACK', COMMANDS, GROUP, entry)
    redis.pcall('XDEL', COMMANDS, entry)
  end
end

local DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
local function base64(bytes)
  local out, n = {}, 0
  for i = 1, #bytes, 3 do
    local a, b, c = string.byte(bytes, i, i + 2)
    local v = a * 65536 + (b or 0) * 256 + (c or 0)
    local function digit(shift)
      local at = math.floor(v / shift) % 64 + 1
      return string.sub(DIGITS, at, at)
    end
    n = n + 1
    out[n] = digit(262144) .. digit(4096) .. (b and digit(64) or '=') .. (c and digit(1) or '=')
  end
  return table.concat(out)
end

-- Writes the dead letter. flat: the fields as they were. The body is a JSON object, cut at 16 KiB; base64 of it where not UTF-8.
local function bury(letter, flat)
  local parts, size, truncated = {}, 0, nil
  for i = 1, #flat, 2 do
    if size > ENTRY_LIMIT then
      truncated = '1'
      break
    end
    local piece = json_string(string.sub(flat[i], 1, ENTRY_LIMIT)) .. ':' .. json_string(string.sub(flat[i + 1], 1, ENTRY_LIMIT))
    parts[#parts + 1] = piece
    size = size + #piece + 1
  end
  local body = '{' .. table.concat(parts, ',') .. '}'
  if #body > ENTRY_LIMIT then
    body, truncated = string.sub(body, 1, ENTRY_LIMIT), '1'
  end
  local fields = {'entry', letter.entry, 'kind', letter.kind, 'error', letter.error, 'detail', letter.detail, 'at', STAMP,
    'attempts', letter.attempts or '0', 'history', letter.history or '[]'}
  if letter.id then
    fields[#fields + 1] = 'id'
    fields[#fields + 1] = letter.id
  end
  if truncated then
    fields[#fields + 1] = 'truncated'
    fields[#fields + 1] = '1'
  end
  if utf8_length(body) then
    fields[#fields + 1] = 'body'
    fields[#fields + 1] = body
  else
    fields[#fields + 1] = 'body_b64'
    fields[#fields + 1] = base64(body)
  end
  return append(DEAD, '10000', fields)
end

local function receipt_fields(receipt)
  local flat = {}
  for i = 1, #COMMAND_FIELDS do
    local value = receipt[COMMAND_FIELDS[i]]
    if value then
      flat[#flat + 1] = COMMAND_FIELDS[i]
      flat[#flat + 1] = value
    end
  end
  return flat
end

-- The history of a command that dies: the one it came with, and this death.
local function lengthen_history(receipt, kind, code_word, detail)
  local item = '{"entry":' .. json_string(receipt.entry or '') .. ',"id":' .. json_string(receipt.id) .. ',"kind":"' .. kind
    .. '","error":"' .. code_word .. '","detail":' .. json_string(detail) .. ',"at":"' .. STAMP .. '","attempts":'
    .. (receipt.attempt or '0') .. '}'
  local before = receipt.history
  if before and before ~= '[]' and string.sub(before, 1, 1) == '[' and string.sub(before, -1) == ']' then
    return string.sub(before, 1, -2) .. ',' .. item .. ']'
  end
  return '[' .. item .. ']'
end
