-- beat: say that a worker is alive, and bid farewell to those that are not. Claims the worker's name.
-- include: keys time rfc3339 json fields events
-- KEYS  1 commands stream
-- ARGV  1 name  2 instance  3 alive ms  4.. field, value, ... of the worker's hash
-- Returns {'ok', now ms, epoch, revision, engine_id, engine_status} | {'taken', ms until the other's beat lapses}
-- Invariant: joined once when a name comes alive, left once when it lapses.
local name, instance, alive = ARGV[1], ARGV[2], tonumber(ARGV[3])
local wrong = require_types({WORKERS, 'zset', worker_key(name), 'hash'}) or open_events()
if wrong then return wrong end

local function worker_json(who)
  local info = redis.call('TYPE', worker_key(who)).ok == 'hash' and read_hash(worker_key(who)) or {}
  info.name = who
  return '{"worker":' .. json_object(WORKER_FIELDS, info) .. '}'
end

local other = redis.call('HGET', worker_key(name), 'instance')
local beat = tonumber(redis.call('ZSCORE', WORKERS, name) or '0')
if other and other ~= instance and beat > NOW - alive then return {'taken', string.format('%d', beat + alive - NOW)} end

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', NOW - alive, 'LIMIT', 0, 100)) do
  redis.call('ZREM', WORKERS, gone)
  emit('worker.left', json_string(gone), worker_json(gone))
end
local fields = {'instance', instance}
for i = 4, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', worker_key(name), unpack(fields))
redis.call('PEXPIRE', worker_key(name), alive * 2)
if redis.call('ZADD', WORKERS, NOW, name) == 1 then emit('worker.joined', json_string(name), worker_json(name)) end
local meta = redis.call('HMGET', META, 'engine_id', 'engine_status')
return {'ok', tostring(NOW), EPOCH, string.format('%d', REVISION), meta[1] or '', meta[2] or ''}
