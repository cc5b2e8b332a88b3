-- What of this the user may not do. ARGV: how many keys, the keys, the commands. Keys are no KEYS here, since the
-- server would refuse the script itself for one that the user may not touch. Redis 7 and newer.
local keys = tonumber(ARGV[1])
local missing, allowed = {}, {}
for i = keys + 2, #ARGV do
  if not redis.acl_check_cmd(ARGV[i]) then
    missing[#missing + 1] = '+' .. ARGV[i]
  elseif ARGV[i] == 'zadd' or ARGV[i] == 'zcard' or ARGV[i] == 'type' then
    allowed[#allowed + 1] = ARGV[i]
  end
end
for i = 2, keys + 1 do
  for _, command in ipairs(allowed) do
    if not redis.acl_check_cmd(command, ARGV[i]) then
      missing[#missing + 1] = '~' .. ARGV[i]
      break
    end
  end
end
return missing
