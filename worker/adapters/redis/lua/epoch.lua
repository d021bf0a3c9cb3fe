-- epoch: make a new epoch where the room needs one; else answer the present one. Compare and set: of many callers one makes it.
-- include: keys time epoch
-- KEYS  1 commands stream
-- ARGV  1 eight hex digits for a new epoch  2 epoch last seen by the caller ('' none)  3 highest revision seen in it  4 forced 0|1
-- Returns {epoch, revision, made 0|1, why}
-- Needed when: no epoch; the server is another process than before; no group; the caller has seen a higher revision; `changes` is ahead.
-- Invariant: (epoch, revision) only grows; the group starts at 0 again, so that take finds every unsettled entry once more.
return ensure_epoch(ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1')
