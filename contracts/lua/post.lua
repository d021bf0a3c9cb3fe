-- post: check a command and add it to the stream together with its receipt. Needs keys, time, rfc3339, parse, receipt.
-- Invariant: while the receipt of an id exists, no second entry of that id is added here.

-- flat: the entry's fields (with an id). options: ttl ms, limit (0 none), requeued_from, history.
-- Returns {'ok'|'duplicate'|'conflict', receipt} | {'malformed', why} | {'full', length}
local function post_command(flat, options)
  local command, _, why = parse_entry(flat)
  if not command then return {'malformed', why} end
  if not command.id then return {'malformed', 'field id is missing'} end
  local length = redis.pcall('XLEN', COMMANDS)
  local held = redis.pcall('HGETALL', receipt_key(command.id))
  local wrong = (type(length) == 'table' or held.err) and require_types({COMMANDS, 'stream', receipt_key(command.id), 'hash'})
    or require_types({UNREAD, 'zset'})
  if wrong then return wrong end
  local known = #held > 0 and to_map(held)
  if known and fingerprint(known) ~= fingerprint(command) then
    return {'conflict', held}
  elseif known then
    redis.call('HINCRBY', receipt_key(command.id), 'duplicates', 1)
    return {'duplicate', redis.call('HGETALL', receipt_key(command.id))}
  end
  if options.limit > 0 and length >= options.limit then return {'full', tostring(length)} end
  local entry = redis.call('XADD', COMMANDS, '*', unpack(flat))
  local receipt = new_receipt(command, entry, options.ttl)
  receipt.status = (receipt.due_ms and receipt.due_ms > NOW) and 'scheduled' or 'queued'
  receipt.requeued_from, receipt.history = options.requeued_from, options.history
  local written = write_new_receipt(receipt)
  redis.call('ZADD', UNREAD, NOW, command.id)
  return {'ok', written}
end

-- An error reply where a key of another type stands in its place.
local function alive_workers(alive)
  local count = redis.pcall('ZCOUNT', WORKERS, NOW - alive, '+inf')
  return type(count) == 'table' and require_types({WORKERS, 'zset'}) or count
end
