-- hint
-- Put before the scripts that make items claimable: wakes as many of the clients that wait for one. It may fail, for it
-- is a hint: the user may lack the right to it. Three calls where there is anything to say.
local function hint(pending, items)
    local MOST = 64 -- entries kept: more clients than that poll
    local key = string.gsub(pending, 'pending$', 'hints')
    local entries = {}
    for i = 1, math.min(items, MOST) do
        entries[i] = '1'
    end
    if entries[1] then
        redis.pcall('RPUSH', key, unpack(entries))
        redis.pcall('LTRIM', key, 0, MOST - 1)
        redis.pcall('PEXPIRE', key, 1000)
    end
end
