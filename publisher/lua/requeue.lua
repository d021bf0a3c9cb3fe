-- requeue: publish a dead letter's command again, under an id of its own, with its history.
-- include: keys time rfc3339 parse receipt post
-- KEYS  1 commands stream
-- ARGV  1 dead entry id  2 default time to live ms  3.. field, value, ... (mended, without id)
-- Returns {'ok', receipt} | {'malformed', why} | {'unknown'}
-- Invariant: the n-th requeue of a dead letter has the id "<dead entry id>:r<n>"; the letter stays until it is dropped.
local wrong = require_types({DEAD, 'stream', REQUEUES, 'hash'})
if wrong then return wrong end
local letter = redis.call('EXISTS', DEAD) == 1 and redis.call('XRANGE', DEAD, ARGV[1], ARGV[1])[1]
if not letter then return {'unknown'} end
local n = (tonumber(redis.call('HGET', REQUEUES, ARGV[1]) or '0') or 0) + 1
while redis.call('EXISTS', receipt_key(ARGV[1] .. ':r' .. n)) == 1 do n = n + 1 end -- where the count was lost
local flat = {}
for i = 3, #ARGV do flat[#flat + 1] = ARGV[i] end
flat[#flat + 1] = 'id'
flat[#flat + 1] = ARGV[1] .. ':r' .. n
local answer = post_command(flat, {ttl = tonumber(ARGV[2]), limit = 0, requeued_from = ARGV[1], history = to_map(letter[2]).history})
if answer[1] == 'ok' then redis.call('HSET', REQUEUES, ARGV[1], n) end
return answer
