#!lua
-- Opens one partition for the process that answers: a new epoch, in which nothing is remembered of the old one.
-- KEYS 1 meta 2 rooms 3 memo 4 log
-- ARGV 1 run id that the closing saw 2 new epoch 3 token of the closing 4 ms for which no name is taken for a young one
-- Answers OPENED | REFUSED. Refused when the process was replaced since, when somebody else closed the partition since,
-- or when the epoch is not above the recorded one. So an opening that was delayed past the beginning of a second one
-- changes nothing: otherwise entries could be given places in an epoch that the second has already left behind.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local recorded = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1')
local epoch = tonumber(ARGV[2])
local closing = redis.call('HGET', KEYS[1], 'closing')
if run ~= ARGV[1] or closing ~= ARGV[3] or epoch <= recorded then return 'REFUSED' end

-- How many entries the stream was ever given: from there the groups' lag is counted.
local base = 0
if redis.call('EXISTS', KEYS[4]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[4])
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then base = info[i + 1] end
  end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local opened = math.max(now + tonumber(ARGV[4]), tonumber(redis.call('HGET', KEYS[1], 'opened') or '0'))
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('HDEL', KEYS[1], 'closing')
redis.call('HSET', KEYS[1], 'run', run, 'epoch', ARGV[2], 'pseq', '0', 'wepoch', ARGV[2], 'wpseq', '0',
  'trimmed', '0', 'opened', string.format('%d', opened), 'base', string.format('%d', base))
return 'OPENED'
