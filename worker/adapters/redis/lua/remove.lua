-- remove: the observer drops the snapshot of a service that has been gone for long.
-- include: keys time rfc3339 json fields events
-- KEYS  1 commands stream
-- ARGV  1 observer token  2 service  3 ver  4 cause (JSON)
-- Returns {'ok'} | {'fenced'} | {'held'} | {'stale'}
-- Invariant: hash, set member, private state and the removed event go in one step.
local service = ARGV[2]
local wrong = require_types({OBSERVER, 'hash', service_key(service), 'hash', state_key(service), 'hash', SERVICES, 'set'}) or open_events()
if wrong then return wrong end
local observer = redis.call('HMGET', OBSERVER, 'token', 'deadline')
if observer[1] ~= ARGV[1] or (tonumber(observer[2] or '') or 0) <= NOW then return {'fenced'} end
if redis.call('EXISTS', lease_key(service)) == 1 then return {'held'} end
local snapshot = read_hash(service_key(service))
if not snapshot or (redis.call('HGET', state_key(service), 'ver') or '0') ~= ARGV[3] then return {'stale'} end
snapshot.revision = next_revision()
wrong = emit_service('removed', snapshot, {}, snapshot.status, ARGV[4])
if wrong then return wrong end
redis.call('DEL', service_key(service), state_key(service))
redis.call('SREM', SERVICES, service)
return {'ok'}
