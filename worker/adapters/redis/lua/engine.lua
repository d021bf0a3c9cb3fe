-- engine: the observer says whether the engine answers.
-- include: keys time rfc3339 json fields events
-- KEYS  1 commands stream
-- ARGV  1 observer token  2 available|unavailable  3 engine id ('' unknown)
-- Returns {'ok', revision} | {'fenced'}
-- Invariant: an event when the status turns, and only then; engine_seen_at is the last time that it answered.
local wrong = require_types({OBSERVER, 'hash'}) or open_events()
if wrong then return wrong end
local observer = redis.call('HMGET', OBSERVER, 'token', 'deadline')
if observer[1] ~= ARGV[1] or (tonumber(observer[2] or '') or 0) <= NOW then return {'fenced'} end
local old = redis.call('HMGET', META, 'engine_status', 'engine_id', 'engine_seen_at')
if ARGV[2] == 'available' then redis.call('HSET', META, 'engine_seen_at', STAMP) end
if old[1] ~= ARGV[2] then
  redis.call('HSET', META, 'engine_status', ARGV[2])
  local engine = {id = old[2] or (ARGV[3] ~= '' and ARGV[3] or nil), status = ARGV[2],
    seen_at = ARGV[2] == 'available' and STAMP or old[3] or nil}
  emit('engine.' .. ARGV[2], json_string(ARGV[2]), '{"engine":' .. json_object(ENGINE_FIELDS, engine) .. '}')
end
return {'ok', string.format('%d', REVISION)}
