-- Leases an item that is pending, or whose lease or delay has expired: the first of those preferred
-- that is, otherwise the one of the lowest rank. An item whose lease has expired moves to `pending` and keeps its line in `leases`: it stays its
-- owner's until it is handed out again. Six calls where nothing has expired, seven with a preference.
--
-- KEYS    1 pending  2 processing  3 leases  4 token
-- ARGV    1 nonce  2 worker  3 lease, ms  then the items preferred, best first
-- returns {item, or nil where there is none; rank; token; failures; claims in a row that expired
--          without progress; whose lease expired, or '';
--          {members that were no items of ours and have been removed}}
local REAPED_MAX = 128 -- expired leases moved by one call, the earliest deadlines first
local VOID_MAX = 16 -- deadlines looked at, the farthest first, where nothing is pending

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local removed = {}

local function to_pending(items, leases)
    for i, item in ipairs(items) do
        local rank = leases[i] and tonumber(string.match(leases[i], '^%S+ (%d+) '))
        if rank then
            -- The half says that `leases` remembers something of the item, and keeps the order.
            redis.call('ZADD', KEYS[1], string.format('%.1f', rank + 0.5), item)
        else
            redis.call('HDEL', KEYS[3], item)
            table.insert(removed, item)
        end
    end
    redis.call('ZREM', KEYS[2], unpack(items))
end

local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, REAPED_MAX)
if expired[1] then
    to_pending(expired, redis.call('HMGET', KEYS[3], unpack(expired)))
end

local function take_first()
    local scores = ARGV[4] and redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 4)) or {}
    for i = 1, #ARGV - 3 do
        if scores[i] then
            redis.call('ZREM', KEYS[1], ARGV[3 + i])
            return { ARGV[3 + i], scores[i] }
        end
    end
    return redis.call('ZPOPMIN', KEYS[1])
end

local first = take_first()
if not first[1] then
    -- A deadline farther away than it was ever set is void: the server's clock went back.
    local last = redis.call('ZREVRANGE', KEYS[2], 0, VOID_MAX - 1, 'WITHSCORES')
    local items, deadlines, void, void_leases = {}, {}, {}, {}
    for i = 1, #last, 2 do
        table.insert(items, last[i])
        table.insert(deadlines, tonumber(last[i + 1]))
    end
    local leases = items[1] and redis.call('HMGET', KEYS[3], unpack(items)) or {}
    for i, item in ipairs(items) do
        local length = leases[i] and tonumber(string.match(leases[i], '^%S+ %d+ (%d+) '))
        if not length or deadlines[i] > now + length then
            table.insert(void, item)
            table.insert(void_leases, leases[i])
        end
    end
    if void[1] then
        to_pending(void, void_leases)
        first = take_first()
    end
    if not first[1] then
        local hints = string.gsub(KEYS[1], 'pending$', 'hints')
        redis.pcall('DEL', hints)
        return { false, 0, 0, 0, 0, '', removed }
    end
end

local item, score = first[1], tonumber(first[2])
local rank, failures, lost, from = math.floor(score), '0', 0, ''
if rank ~= score then
    local line = redis.call('HGET', KEYS[3], item) or ''
    local owner, failed, before, progress, worker = string.match(line, '^(%S+) %d+ %d+ (%d+) (%d+) (%d+) (.*)$')
    failures = failed or '0'
    if owner and owner ~= '-' then
        from = worker
        lost = progress == '0' and before + 1 or 1
    end
end

local token = redis.call('INCR', KEYS[4])
redis.call('ZADD', KEYS[2], now + ARGV[3], item)
redis.call('HSET', KEYS[3], item, string.format(
    '%.0f:%s %.0f %s %s %.0f 0 %s', token, ARGV[1], rank, ARGV[3], failures, lost, ARGV[2]))
return { item, rank, token, tonumber(failures), lost, from, removed }
