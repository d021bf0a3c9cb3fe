-- intake: one stream entry into its lane, its receipt, or the dead letters. Needs lanes (and what those need).
-- include: entry
-- Safe to repeat: an entry that its receipt names is that command, whatever became of it since.

-- Writes the receipt that an entry gets at its own stream id when it is refused before it is anybody's command. Where something
-- that is no receipt stands in its place, the dead letter alone tells.
local function refuse_entry(entry, partial, outcome, window)
  if not is_type(receipt_key(entry), 'hash') then return end
  local receipt = {id = entry, entry = entry, action = partial.action, service = partial.service, issuer = partial.issuer,
    reason = partial.reason, accepted_at = STAMP, duplicates = '0', status = outcome.status}
  write_new_receipt(receipt)
  settle_receipt(receipt, outcome, window)
end

local function refuse_malformed(entry, flat, partial, why, window)
  drop_entry(entry)
  bury({entry = entry, id = partial.id, kind = 'malformed', error = 'invalid_command', detail = why,
    history = lengthen_history({id = entry, entry = entry}, 'malformed', 'invalid_command', why)}, flat)
  refuse_entry(entry, partial, {status = 'dead', code = '400', error = 'invalid_command', message = why}, window)
end

local function refuse_conflict(entry, flat, command, window)
  local why = 'id ' .. command.id .. ' was already used for another command'
  drop_entry(entry)
  bury({entry = entry, id = command.id, kind = 'conflict', error = 'idempotency_conflict', detail = why,
    history = lengthen_history({id = command.id, entry = entry}, 'conflict', 'idempotency_conflict', why)}, flat)
  refuse_entry(entry, command, {status = 'rejected', code = '422', error = 'idempotency_conflict', message = why}, window)
end

-- Puts a command that is in no lane where it belongs: its end, the schedule or its lane.
local function place_command(receipt, window)
  if receipt.expires_ms <= NOW then
    expire(receipt, window)
  elseif receipt.due_ms and receipt.due_ms > NOW then
    redis.call('ZADD', SCHEDULED, receipt.due_ms, scheduled_member(receipt))
    redis.call('ZADD', EXPIRIES, receipt.expires_ms, receipt.id)
  else
    queue_command(receipt)
  end
end

-- A command whose receipt exists and names this entry: published with a receipt, or read again after a new epoch.
local function resume_command(receipt, window)
  local service, id = receipt.service, receipt.id
  receipt.expires_ms = parse_ms(receipt.expires_at or '') or NOW
  receipt.due_ms = receipt.not_before and parse_ms(receipt.not_before)
  redis.call('ZREM', UNREAD, id)
  if SETTLED[receipt.status] then
    drop_entry(receipt.entry)
  elseif receipt.status == 'running' then
    if not redis.call('ZSCORE', lane_key(service), id) then enter_lane(service, id, true) end
  elseif redis.call('ZSCORE', lane_key(service), id) then
    redis.call('ZADD', EXPIRIES, receipt.expires_ms, id)
    if not redis.call('ZSCORE', LEASES, service) then make_ready(service) end
  elseif receipt.coalesced_into then
    drop_entry(receipt.entry)
  else
    place_command(receipt, window)
  end
end

local function wrong_lane(service, id)
  return require_types({lane_key(service), 'zset', lease_key(service), 'hash', joiners_key(id), 'list'})
end

local function accept_entry(entry, flat, window, ttl)
  local known, broken = receipt_of(named_id(flat) or entry)
  if known and known.entry == entry and known.service and known.status then
    if wrong_lane(known.service, known.id) then return end -- it stays pending, so that a new epoch finds it again
    return resume_command(known, window)
  end
  local command, partial, why = parse_entry(flat)
  if not command then return refuse_malformed(entry, flat, partial, why, window) end
  if known and fingerprint(known) == fingerprint(command) then
    count_up(known, 'duplicates')
    return drop_entry(entry)
  elseif known then
    return refuse_conflict(entry, flat, command, window)
  end
  if not broken then
    local wrong = wrong_lane(command.service, command.id or entry)
    broken = wrong and wrong.err
  end
  if broken then return refuse_malformed(entry, flat, command, broken, window) end
  local receipt = new_receipt(command, entry, ttl)
  receipt.status = (receipt.due_ms and receipt.due_ms > NOW) and 'scheduled' or 'queued'
  write_new_receipt(receipt)
  place_command(receipt, window)
end
