#!lua
-- Puts one batch into a node's inbox, numbered without holes; the number is the entry's id.
-- KEYS 1 alive 2 inbox 3 number    ARGV 1 batch 2 most entries
-- Answers the number, or 0 when the node is gone.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local n = redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], string.format('%d-0', n), 'b', ARGV[1])
if n == 1 then
  -- Later the node prolongs them all together; until then they must not outlive it.
  local left = redis.call('PTTL', KEYS[1])
  redis.call('PEXPIRE', KEYS[2], left)
  redis.call('PEXPIRE', KEYS[3], left)
end
return n
