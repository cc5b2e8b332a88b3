-- Removes every occurrence of paths from the pushed ones, by value. Never rewrites the list, so
-- that no error half-way can lose a path.
--
-- KEYS    1 pushed
-- ARGV    paths
-- returns how many were removed
local taken = {}
for _, path in ipairs(ARGV) do
    taken[path] = true
end
local pushed = redis.call('LRANGE', KEYS[1], 0, -1)

-- Those at the head, as a rule all of them, go by one call.
local head = 0
while pushed[head + 1] and taken[pushed[head + 1]] do
    head = head + 1
end
if head > 0 then
    redis.call('LTRIM', KEYS[1], head, -1)
end

local removed = head
for i = head + 1, #pushed do
    if taken[pushed[i]] then
        removed = removed + redis.call('LREM', KEYS[1], 0, pushed[i])
        taken[pushed[i]] = nil
    end
end
return removed
