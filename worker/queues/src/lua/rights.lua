-- rights
-- What of this the user may not do. ARGV: how many keys, the keys, the commands. Keys are no KEYS here, since the
-- server would refuse the script itself for one that the user may not touch. Redis 7 and newer.
--
-- A command is asked about with the arguments that it takes, as the server reads keys from them: allowed on one of the
-- keys, it is allowed. Of commands on no key that is allowed nothing can be said; then the keys are what is missing.
local WITHOUT_KEYS = { time = {}, eval = { '', '0' }, evalsha = { '', '0' } }

local last = tonumber(ARGV[1]) + 1
local missing, denied, allowed = {}, {}, {}
for i = last + 1, #ARGV do
    local command = ARGV[i]
    if WITHOUT_KEYS[command] then
        if not redis.acl_check_cmd(command, unpack(WITHOUT_KEYS[command])) then
            table.insert(missing, '+' .. command)
        end
    else
        local is_allowed = false
        for k = 2, last do
            if redis.acl_check_cmd(command, ARGV[k], ARGV[k]) then
                is_allowed, allowed[ARGV[k]] = true, true
            end
        end
        if not is_allowed then
            table.insert(denied, '+' .. command)
        end
    end
end
if next(allowed) then
    for _, rule in ipairs(denied) do
        table.insert(missing, rule)
    end
end
for k = 2, last do
    if not allowed[ARGV[k]] then
        table.insert(missing, '~' .. ARGV[k])
    end
end
return missing
