-- observer: the lease of the one worker that observes the room. Acquire, renew, or stand as a candidate.
-- include: keys time
-- KEYS  1 commands stream
-- ARGV  1 instance  2 token (unique for this process and call)  3 lease ms  4 able 0|1 (its engine answers)
--       5 the epoch in which this observer has published every snapshot anew ('' none)
-- Returns {'mine', token, now ms, restore 0|1 (nobody has done so in the present epoch)} | {'other', ms until it lapses}
-- Invariant: one token at a time, and every write of an observer checks it. An observer whose engine is out of reach yields to a
-- candidate whose engine answers; where there is none it goes on, to say so.
local wrong = require_types({OBSERVER, 'hash', META, 'hash'})
if wrong then return wrong end
local held = redis.call('HMGET', OBSERVER, 'instance', 'token', 'deadline', 'candidate', 'candidate_at')
local lease = tonumber(ARGV[3])
local deadline = tonumber(held[3] or '') or 0
local live = held[1] and held[2] and deadline > NOW
local able = ARGV[4] == '1'
if live and held[1] ~= ARGV[1] then
  if able then redis.call('HSET', OBSERVER, 'candidate', ARGV[1], 'candidate_at', NOW) end
  return {'other', string.format('%d', deadline - NOW)}
end
local candidate = held[4] and held[4] ~= ARGV[1] and (tonumber(held[5] or '') or 0) > NOW - lease
if not able and candidate then
  if live then redis.call('HDEL', OBSERVER, 'instance', 'token', 'deadline') end
  return {'other', '0'}
end
local token = live and held[2] or ARGV[2]
redis.call('HSET', OBSERVER, 'instance', ARGV[1], 'token', token, 'deadline', NOW + lease)
local epoch = redis.call('HGET', META, 'epoch')
if epoch and ARGV[5] == epoch then redis.call('HSET', OBSERVER, 'restored', epoch) end
return {'mine', token, tostring(NOW), redis.call('HGET', OBSERVER, 'restored') == epoch and '0' or '1'}
