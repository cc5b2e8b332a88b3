-- Removes an item that is committed, if the caller still owns it, and adds what comes next either
-- way. Five calls with a next, three without.
--
-- KEYS    1 pending  2 processing  3 leases
-- ARGV    1 item  2 owner, `token:nonce`  then rank, item, rank, item, …
-- returns 1 held, 0 lost
local held = 0
local line = redis.call('HGET', KEYS[3], ARGV[1])
if line and string.sub(line, 1, #ARGV[2] + 1) == ARGV[2] .. ' ' then
    redis.call('HDEL', KEYS[3], ARGV[1])
    if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then
        redis.call('ZREM', KEYS[1], ARGV[1]) -- expired, and not handed out since
    end
    held = 1
end
if ARGV[3] then
    enqueue(3)
end
return held
