-- Removes every occurrence of paths from the pushed ones, by value. Writes what stays before it
-- removes anything, so that no error half-way can lose a path.
--
-- KEYS    1 pushed  2 a key of nobody's, for the time of the call
-- ARGV    paths
-- returns how many were removed
local CHUNK = 1000 -- paths to a call: `unpack` has a bound

local taken = {}
for _, path in ipairs(ARGV) do
    taken[path] = true
end
local pushed = redis.call('LRANGE', KEYS[1], 0, -1)
local rest, head = {}, 0
for i, path in ipairs(pushed) do
    if not taken[path] then
        table.insert(rest, path)
    elseif head == i - 1 then
        head = i
    end
end

local removed = #pushed - #rest
if removed == head then
    -- They are the first ones, as a rule all of them.
    if head > 0 then
        redis.call('LTRIM', KEYS[1], head, -1)
    end
    return removed
end
redis.call('DEL', KEYS[2])
for from = 1, #rest, CHUNK do
    redis.call('RPUSH', KEYS[2], unpack(rest, from, math.min(#rest, from + CHUNK - 1)))
end
redis.call('RENAME', KEYS[2], KEYS[1])
return removed
