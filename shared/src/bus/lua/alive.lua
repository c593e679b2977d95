#!lua
-- A node's word that it is alive. Only ever extended: a node that was forgotten must start anew.
-- KEYS 1 alive 2 inbox 3 number    ARGV 1 ttl in ms 2 last number read
-- Answers the last number given, or -1 when the node is gone.
if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then return -1 end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[1])
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%d-0', tonumber(ARGV[2]) + 1))
return tonumber(redis.call('GET', KEYS[3]) or '0')
