#!lua
-- Whether a person is online, and where: a node's word holds until its time and is renewed before.
-- KEYS 1 sorted set: node -> expiry    ARGV 1 here | left | is   2 ttl in ms   3 node
-- Answers 1 or 0. here: whether the person was online nowhere before. left: whether the person is online nowhere now, also
-- when the word had lapsed by itself. is: whether the person is online.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local key, what, ttl, node = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
if what == 'left' then
  redis.call('ZREM', key, node)
  return redis.call('ZCARD', key) == 0 and 1 or 0
end
local nodes = redis.call('ZCARD', key)
if what == 'is' then return nodes > 0 and 1 or 0 end
redis.call('ZADD', key, now + ttl, node)
if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
return nodes == 0 and 1 or 0
