-- leave: a worker says goodbye at once, so that nobody waits for its beat to lapse.
-- include: keys time rfc3339 json fields events
-- KEYS  1 commands stream
-- ARGV  1 name  2 instance
-- Returns 1 when it was there, else 0.
local name = ARGV[1]
local wrong = require_types({WORKERS, 'zset', worker_key(name), 'hash', OBSERVER, 'hash'}) or open_events()
if wrong then return wrong end
local info = read_hash(worker_key(name))
if not info or info.instance ~= ARGV[2] then return 0 end
info.name = name
local here = redis.call('ZREM', WORKERS, name) == 1
redis.call('DEL', worker_key(name))
if redis.call('HGET', OBSERVER, 'instance') == ARGV[2] then redis.call('HDEL', OBSERVER, 'instance', 'token', 'deadline') end
if here then emit('worker.left', json_string(name), '{"worker":' .. json_object(WORKER_FIELDS, info) .. '}') end -- else another's beat has said it
return 1
