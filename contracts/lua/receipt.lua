-- receipt: read a receipt, begin one. Needs keys, time, rfc3339.
-- include: stamp
local COMMAND_FIELDS = {
  'id', 'v', 'action', 'service', 'issuer', 'reason', 'expires_at', 'not_before', 'timeout', 'expect_container_id',
  'expect_started_at', 'coalesce', 'traceparent', 'tracestate',
}

-- Writes what there is of these fields; returns it flat.
local function write_receipt(receipt, names)
  local flat, n = {}, 0
  for i = 1, #names do
    local value = receipt[names[i]]
    if value then
      flat[n + 1], flat[n + 2] = names[i], value
      n = n + 2
    end
  end
  if n > 0 then redis.call('HSET', receipt_key(receipt.id), unpack(flat)) end
  return flat
end

-- Reads a receipt; nil where there is none, and why where something else stands in its place.
local function receipt_of(id)
  if not id then return nil end
  local flat = redis.pcall('HGETALL', receipt_key(id))
  if flat.err then return nil, 'WRONGTYPE ' .. receipt_key(id) .. ' holds no hash' end
  if #flat == 0 then return nil end
  local receipt = to_map(flat)
  receipt.id = id
  return receipt
end

local function count_up(receipt, field)
  receipt[field] = string.format('%d', (tonumber(receipt[field]) or 0) + 1)
  redis.call('HSET', receipt_key(receipt.id), field, receipt[field])
end

-- An entry's time is the lesser of its id's milliseconds and NOW. Fills the receipt of a command first seen now.
local function new_receipt(command, entry, ttl)
  local entry_ms = math.min(tonumber(string.match(entry, '^(%d+)')) or NOW, NOW)
  local receipt = {id = command.id or entry, entry = entry, accepted_at = STAMP, duplicates = '0'}
  for i = 2, #COMMAND_FIELDS do receipt[COMMAND_FIELDS[i]] = command[COMMAND_FIELDS[i]] end
  receipt.v = nil
  receipt.expires_ms = command.expires_at_ms or math.min(math.max(entry_ms, command.not_before_ms or 0) + ttl, LAST_MS)
  receipt.expires_at = format_ms(receipt.expires_ms)
  receipt.due_ms = command.not_before_ms
  return receipt
end

local RECEIPT_START = {
  'id', 'entry', 'action', 'service', 'issuer', 'reason', 'timeout', 'expect_container_id', 'expect_started_at', 'coalesce',
  'traceparent', 'tracestate', 'not_before', 'expires_at', 'accepted_at', 'duplicates', 'status', 'requeued_from', 'history',
}

local function write_new_receipt(receipt) return write_receipt(receipt, RECEIPT_START) end
