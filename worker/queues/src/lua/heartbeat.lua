-- Extends a lease from now, if the caller still owns it. Four calls.
--
-- KEYS    1 pending  2 processing  3 leases
-- ARGV    1 item  2 owner, `token:nonce`  3 lease, ms  4 progress  5 failures so far
-- returns 1 held, 0 lost
local line = redis.call('HGET', KEYS[3], ARGV[1]) or ''
local owner, rank, lost, worker = string.match(line, '^(%S+) (%d+) %d+ %d+ (%d+) %d+ (.*)$')
if owner ~= ARGV[2] then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1]) == 1 then
    redis.call('ZREM', KEYS[1], ARGV[1]) -- expired, and not handed out since
end
redis.call('HSET', KEYS[3], ARGV[1], table.concat(
    { owner, rank, ARGV[3], ARGV[5], lost, ARGV[4], worker }, ' '))
return 1
