-- forget: remove the snapshot of a service whose container is gone.
-- include: keys time rfc3339 json fields events epoch
-- KEYS  1 commands stream
-- ARGV  1 service  2 eight hex digits  3 issuer  4 reason
-- Returns {'ok', snapshot} | {'unknown'} | {'present', snapshot} | {'held'} (a command is at work on it)
-- Invariant: hash, set member, private state and the removed event go in one step.
local service = ARGV[1]
local wrong = require_types({service_key(service), 'hash', SERVICES, 'set'})
if wrong then return wrong end
wrong = open_events()
if wrong and string.find(wrong.err, '^NOEPOCH') then
  wrong = ensure_epoch(ARGV[2], '', 0, false)
  if wrong.err then return wrong end
  wrong = open_events()
end
if wrong then return wrong end
local snapshot = read_hash(service_key(service))
if not snapshot then return {'unknown'} end
local flat = redis.call('HGETALL', service_key(service))
if snapshot.container_state then return {'present', flat} end
if redis.call('EXISTS', lease_key(service)) == 1 then return {'held'} end
snapshot.revision = next_revision()
wrong = emit_service('removed', snapshot, {}, snapshot.status, '{"kind":"command","command_id":null,"issuer":'
  .. (ARGV[3] ~= '' and json_string(ARGV[3]) or 'null') .. ',"reason":' .. (ARGV[4] ~= '' and json_string(ARGV[4]) or 'null') .. '}')
if wrong then return wrong end
redis.call('DEL', service_key(service), state_key(service))
redis.call('SREM', SERVICES, service)
return {'ok', flat}
