#!lua
-- Closes one partition: no append until it is opened again, and only by whoever closed it last.
-- KEYS 1 meta    ARGV 1 token of this closing
-- Answers the process' run id.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
redis.call('HDEL', KEYS[1], 'run')
redis.call('HSET', KEYS[1], 'closing', ARGV[1])
return run
