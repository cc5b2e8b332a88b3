-- Counts the items of a run.
--
-- KEYS    1 pending  2 processing
-- returns {that a claim could have now, leased or delayed}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = redis.call('ZCOUNT', KEYS[2], '-inf', now)
return {
    redis.call('ZCARD', KEYS[1]) + expired,
    redis.call('ZCARD', KEYS[2]) - expired,
}
