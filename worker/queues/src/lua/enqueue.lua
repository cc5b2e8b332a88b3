-- Put after `hint.lua`, before `add.lua` and `ack.lua`: adds those of the items at ARGV[first], each preceded by its
-- rank, that are neither pending nor in processing; answers how many.
local function enqueue(first)
    local CHUNK = 1000 -- pairs to a call: `unpack` has a bound
    local added = 0
    for from = first, #ARGV, 2 * CHUNK do
        local items = {}
        for i = from, math.min(#ARGV, from + 2 * CHUNK - 1), 2 do
            table.insert(items, ARGV[i + 1])
        end
        local deadlines = redis.call('ZMSCORE', KEYS[2], unpack(items))
        local new = {}
        for i, item in ipairs(items) do
            if not deadlines[i] then
                table.insert(new, ARGV[from + 2 * (i - 1)])
                table.insert(new, item)
            end
        end
        if new[1] then
            added = added + redis.call('ZADD', KEYS[1], 'NX', unpack(new))
        end
    end
    hint(KEYS[1], added)
    return added
end
