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
  if wrong then return wrong end
  local known = #held > 0 and to_map(held)
  if known and fingerprint(known) ~= fingerprint(command) then
    return {'conflict', held}
  elseif known then
    redis.call('HINCRBY', receipt_key(command.id), 'duplicates', 1)
    return {'duplicate', redis.call('HGETALL', receipt_key(command.id))}
  end
  if options.limit > 0 and length >= options.limit then return {'full', tostring(length)} end
  local unread = redis.pcall('ZADD', UNREAD, NOW, command.id) -- the first write: refused, it leaves nothing behind
  if type(unread) == 'table' then return require_types({UNREAD, 'zset'}) or unread end
  local entry = redis.pcall('XADD', COMMANDS, '*', unpack(flat))
  if type(entry) == 'table' then -- no id is left in the stream
    redis.call('ZREM', UNREAD, command.id)
    return entry
  end
  local receipt = new_receipt(command, entry, options.ttl)
  receipt.status = (receipt.due_ms and receipt.due_ms > NOW) and 'scheduled' or 'queued'
  receipt.requeued_from, receipt.history = options.requeued_from, options.history
  return {'ok', write_new_receipt(receipt)}
end

-- An error reply where a key of another type stands in its place.
local function alive_workers(alive)
  local count = redis.pcall('ZCOUNT', WORKERS, NOW - alive, '+inf')
  return type(count) == 'table' and require_types({WORKERS, 'zset'}) or count
end
