#!lua
-- Who watches a room: distinct people with a live socket on any node, or without one but seen lately over REST.
-- KEYS 1 viewers: 'person|node' -> expiry   2 people: person -> nodes   3 seen: person -> expiry
-- ARGV 1 touch | leave | see | count   2 ttl in ms   3 node   4… people
-- Answers { number of people, those among ARGV who are not watching any more… }.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function drop(member)
  if redis.call('ZREM', KEYS[1], member) == 0 then return end
  local person = string.match(member, '^(.-)|')
  if redis.call('HINCRBY', KEYS[2], person, -1) <= 0 then redis.call('HDEL', KEYS[2], person) end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do drop(member) end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)

local what, ttl, node = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local left = {}
for i = 4, #ARGV do
  local person = ARGV[i]
  local member = person .. '|' .. node
  if what == 'touch' then
    if redis.call('ZADD', KEYS[1], now + ttl, member) == 1 then redis.call('HINCRBY', KEYS[2], person, 1) end
    redis.call('ZREM', KEYS[3], person)
  elseif what == 'leave' then
    drop(member)
    if redis.call('HEXISTS', KEYS[2], person) == 0 then
      -- Whoever closes their last socket is gone, also when they were seen over REST before.
      redis.call('ZREM', KEYS[3], person)
      left[#left + 1] = person
    end
  elseif what == 'see' and redis.call('HEXISTS', KEYS[2], person) == 0 then
    redis.call('ZADD', KEYS[3], now + ttl, person)
  end
end
if what ~= 'count' then
  -- Nothing outlives the last word by more than a sighting's time.
  for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], 600000) end
end
local people = redis.call('HLEN', KEYS[2]) + redis.call('ZCARD', KEYS[3])
return { tostring(people), unpack(left) }
