#!lua
-- Takes or prolongs a lease.   KEYS 1 lease    ARGV 1 owner 2 ttl in ms 3 '1' to take a free one
-- Answers 1 when the owner holds it now.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] or (not holder and ARGV[3] == '1') then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0
