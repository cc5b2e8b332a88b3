-- Returns an item, if the caller still owns it, to be claimed again after a delay.
--
-- KEYS    1 pending  2 processing  3 leases
-- ARGV    1 item  2 owner, `token:nonce`  3 delay, ms  4 failures so far
-- returns 1 held, 0 lost
local line = redis.call('HGET', KEYS[3], ARGV[1]) or ''
local owner, rank, worker = string.match(line, '^(%S+) (%d+) %d+ %d+ %d+ %d+ (.*)$')
if owner ~= ARGV[2] then
    return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[3] == '0' and ARGV[4] == '0' then
    redis.call('HDEL', KEYS[3], ARGV[1])
    redis.call('ZADD', KEYS[1], rank, ARGV[1])
    hint(KEYS[1], 1)
    return 1
end
redis.call('HSET', KEYS[3], ARGV[1], table.concat({ '-', rank, ARGV[3], ARGV[4], '0', '0', worker }, ' '))
if ARGV[3] == '0' then
    -- The half says that `leases` remembers something of the item, and keeps the order.
    redis.call('ZADD', KEYS[1], string.format('%.1f', rank + 0.5), ARGV[1])
    hint(KEYS[1], 1)
else
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
end
return 1
