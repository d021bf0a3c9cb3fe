-- post: check a command and add it to the stream together with its receipt. Needs keys, time, rfc3339, parse, receipt.
-- Invariant: while the receipt of an id exists, no second entry of that id is added here.

-- flat: the entry's fields (with an id). options: ttl ms, limit (0 none), requeued_from, history.
-- Returns {'ok'|'duplicate'|'conflict', receipt} | {'malformed', why} | {'full', length}
local function post_command(flat, options)
  local command, _, why = parse_entry(flat)
  if not command then return {'malformed', why} end
  if not command.id then return {'malformed', 'field id is missing'} end
  local wrong = require_types({receipt_key(command.id), 'hash', COMMANDS, 'stream', UNREAD, 'zset'})
  if wrong then return wrong end
  local known = read_hash(receipt_key(command.id))
  if known and fingerprint(known) ~= fingerprint(command) then
    return {'conflict', redis.call('HGETALL', receipt_key(command.id))}
  elseif known then
    redis.call('HINCRBY', receipt_key(command.id), 'duplicates', 1)
    return {'duplicate', redis.call('HGETALL', receipt_key(command.id))}
  end
  local length = redis.call('XLEN', COMMANDS)
  if options.limit > 0 and length >= options.limit then return {'full', tostring(length)} end
  local entry = redis.call('XADD', COMMANDS, '*', unpack(flat))
  local receipt = new_receipt(command, entry, options.ttl)
  receipt.status = (receipt.due_ms and receipt.due_ms > NOW) and 'scheduled' or 'queued'
  receipt.requeued_from, receipt.history = options.requeued_from, options.history
  local written = write_new_receipt(receipt)
  redis.call('ZADD', UNREAD, NOW, command.id)
  return {'ok', written}
end

local function alive_workers(alive)
  return redis.call('ZCOUNT', WORKERS, NOW - alive, '+inf')
end
