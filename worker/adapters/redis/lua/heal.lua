-- heal: publish a due heal as an ordinary command on the same stream. Any number of workers derive one id and make one command.
-- include: keys time rfc3339 parse receipt post
-- KEYS  1 commands stream
-- ARGV  1 service  2 restart_scheduled_at  3 default time to live ms  4.. field, value, ... of the entry
-- Returns {'ok'|'duplicate'|'conflict', receipt} | {'malformed', why} | {'moot'} | {'early', ms}
-- Invariant: made only when it is due by Redis TIME and while the snapshot still plans it for that time.
local wrong = require_types({service_key(ARGV[1]), 'hash'})
if wrong then return wrong end
local planned = redis.call('HGET', service_key(ARGV[1]), 'restart_scheduled_at')
if planned ~= ARGV[2] then return {'moot'} end
local due = parse_ms(planned) or 0
if due > NOW then return {'early', string.format('%d', due - NOW)} end
local flat = {}
for i = 4, #ARGV do flat[#flat + 1] = ARGV[i] end
return post_command(flat, {ttl = tonumber(ARGV[3]), limit = 0})
