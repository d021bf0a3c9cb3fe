-- time: Redis TIME is the one clock of every deadline. NOW is milliseconds since the epoch.
local CLOCK = redis.call('TIME')
local NOW = CLOCK[1] * 1000 + math.floor(CLOCK[2] / 1000)
