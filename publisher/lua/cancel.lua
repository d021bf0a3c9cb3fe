-- cancel: end a command that has not begun.
-- include: keys time rfc3339 json fields events parse receipts lanes intake epoch
-- KEYS  1 commands stream
-- ARGV  1 id (or the stream id of an entry that no worker has seen)  2 window ms  3 default time to live ms  4 eight hex digits
-- Returns {'ok', receipt} | {'refused', receipt} (running or settled: nothing changes) | {'unknown'}
-- Invariant: the script that begins a command and this one see each other's writes, so one of them wins.
local id, window, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local wrong = require_types(LANE_TYPES) or require_types({receipt_key(id), 'hash'})
if wrong then return wrong end
wrong = open_events()
if wrong and string.find(wrong.err, '^NOEPOCH') then
  wrong = ensure_epoch(ARGV[4], '', 0, false)
  if wrong.err then return wrong end
  wrong = open_events()
end
if wrong then return wrong end

local receipt = receipt_of(id)
if not receipt and string.find(id, '^%d+%-%d+$') then
  local entry = redis.pcall('XRANGE', COMMANDS, id, id)[1]
  if not entry then return {'unknown'} end
  local command, partial, why = parse_entry(entry[2])
  if not command then
    refuse_malformed(id, entry[2], partial, why, window)
    return {'refused', redis.call('HGETALL', receipt_key(id))}
  end
  local key = receipt_key(command.id or id)
  wrong = require_types({key, 'hash', lane_key(command.service), 'zset', lease_key(command.service), 'hash',
    joiners_key(command.id or id), 'list'})
  if wrong then return wrong end
  receipt = receipt_of(command.id or id)
  if receipt and receipt.entry ~= id then
    accept_entry(id, entry[2], window, ttl)
    return {'refused', redis.call('HGETALL', key)}
  end
  if not receipt then
    receipt = new_receipt(command, id, ttl)
    receipt.status = 'queued'
    write_new_receipt(receipt)
  end
end
if not receipt then return {'unknown'} end
local target = receipt_of(receipt.coalesced_into)
if (receipt.status ~= 'queued' and receipt.status ~= 'scheduled') or (target and target.status ~= 'queued') then
  return {'refused', redis.call('HGETALL', receipt_key(receipt.id))}
end
if not is_sound(receipt) then
  return redis.error_reply('WRONGTYPE a key of command ' .. receipt.id .. ' or of its lane is not what it should be')
end
end_unstarted(receipt, CANCELED, window)
wake()
return {'ok', redis.call('HGETALL', receipt_key(receipt.id))}
