-- settle: the end of a held command: receipt, snapshot, events, acknowledgement, joiners, and the next lane for the worker.
-- include: keys time rfc3339 json fields events parse receipts lanes snapshot grants
-- KEYS  1 commands stream
-- ARGV  1 service  2 id  3 token  4 window ms  5 started 0|1 (it begins and settles in this step)  6 overdue_only 0|1
--       7 ver  8 memo ('' leaves the snapshot alone)  9 cause (JSON)
--       10 want (lanes wanted, 0 or 1)  11 worker  12 instance  13 token of the next  14 lease ms  15 max attempts
--       16 number of receipt arguments  17.. receipt field, value, ..., then snapshot field, value, ...
-- Returns {'ok', now ms, revision, ver, grants} | {'done'} (this token settled it before) | {'fenced'} | {'ended', status}
--         | {'early'} | {'stale', snapshot, ver, memo}
-- Invariant: acknowledged only together with a settled receipt and its event. Its first write is allowed out of memory.
local service, id, token, window = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local wrong = require_types({receipt_key(id), 'hash', lease_key(service), 'hash', joiners_key(id), 'list', SERVICES, 'set',
  service_key(service), 'hash', state_key(service), 'hash', lane_key(service), 'zset', RELOOK, 'set'}) or require_types(LANE_TYPES) or open_events()
if wrong then return wrong end

local receipt = receipt_of(id)
if not receipt then return {'fenced'} end
if SETTLED[receipt.status] then return {receipt.lease == token and 'done' or 'fenced'} end
if not holds_lease(service, id, token) or (receipt.status ~= 'queued' and receipt.status ~= 'running') then return {'fenced'} end
receipt.service = service
local expires = parse_ms(receipt.expires_at or '') or 0
if ARGV[6] == '1' and expires > NOW then return {'early'} end
if receipt.status == 'queued' and expires <= NOW then
  expire(receipt, window)
  return {'ended', 'expired'}
end
if ARGV[8] ~= '' and not same_version(service, ARGV[7]) then
  local state = redis.call('HMGET', state_key(service), 'ver', 'memo')
  return {'stale', redis.call('HGETALL', service_key(service)), state[1] or '0', state[2] or ''}
end

-- Drawn before the first write, because it is refused when Redis is out of memory; then nothing new is given out.
local ticket = redis.pcall('INCR', LOOKS)
local full = type(ticket) == 'table'
if full and not string.find(ticket.err, 'OOM') then return ticket end
redis.call('ZREM', EXPIRIES, id)
if full then ticket = redis.call('INCR', LOOKS) end
if ARGV[5] == '1' then
  if receipt.status == 'queued' then
    receipt.status, receipt.attempt, receipt.started_at, receipt.worker = 'running', '1', STAMP, ARGV[11]
    emit_command('started', receipt)
  end
end
local last, outcome, flat = 16 + tonumber(ARGV[16]), {lease = token}, {}
for i = 17, last, 2 do
  if ARGV[i + 1] ~= '' then outcome[ARGV[i]] = ARGV[i + 1] end
end
for i = last + 1, #ARGV do flat[#flat + 1] = ARGV[i] end
local version = ARGV[7]
if ARGV[8] ~= '' then
  version = select(2, write_snapshot(service, flat, version, ARGV[8], ticket, ARGV[9]))
end
settle_receipt(receipt, outcome, window)
settle_joiners(receipt, window)
redis.call('HDEL', receipt_key(id), 'losses')
drop_entry(receipt.entry)
redis.call('ZREM', UNREAD, id)
redis.call('ZREM', lane_key(service), id)
release_lane(service)
redis.call('SADD', RELOOK, service)
local who = {worker = ARGV[11], instance = ARGV[12], token = ARGV[13], lease = tonumber(ARGV[14]), window = window,
  max_attempts = tonumber(ARGV[15])}
local grants = ARGV[10] == '1' and not full and grant_ready(1, who, false) or {}
return {'ok', tostring(NOW), string.format('%d', REVISION), version, grants}
