-- lost: find commands that were published but whose entry vanished before a worker read it.
-- include: keys time rfc3339 json fields events parse receipts lanes
-- KEYS  1 commands stream
-- ARGV  1 window ms  2 after (score to begin above)  3 how many to look at
-- Returns {next score ('' at the end), ids buried, ...}
-- Invariant: an id leaves `unread` when its entry is read, so what stands there without an entry is in no lane.
local wrong = require_types(LANE_TYPES) or open_events()
if wrong then return wrong end
local found = redis.call('ZRANGEBYSCORE', UNREAD, '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[3]))
local out = {''}
if #found == tonumber(ARGV[3]) * 2 then -- a page ends with all of its last millisecond
  out[1] = found[#found]
  local paged = to_map(found)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', UNREAD, out[1], out[1])) do
    if not paged[id] then
      found[#found + 1] = id
      found[#found + 1] = out[1]
    end
  end
end
local function is_there(entry)
  local entries = redis.pcall('XRANGE', COMMANDS, entry or '-1', entry or '-1')
  return not entries.err and #entries > 0
end
for i = 1, #found, 2 do
  local id = found[i]
  local receipt = receipt_of(id)
  if not receipt or SETTLED[receipt.status] then
    redis.call('ZREM', UNREAD, id)
  elseif not is_there(receipt.entry) then
    local why = 'the entry ' .. (receipt.entry or 'of ' .. id) .. ' vanished from the stream before a worker read it'
    bury({entry = receipt.entry or '', id = id, kind = 'entry_lost', error = 'entry_lost', detail = why,
      history = lengthen_history(receipt, 'entry_lost', 'entry_lost', why)}, receipt_fields(receipt))
    settle_receipt(receipt, {status = 'dead', code = '500', error = 'entry_lost', message = why}, tonumber(ARGV[1]))
    redis.call('ZREM', UNREAD, id)
    redis.call('ZREM', EXPIRIES, id)
    out[#out + 1] = id
  end
end
return out
