#!lua
-- Closes one partition: no append until somebody opens it.   KEYS 1 meta
redis.call('HDEL', KEYS[1], 'run')
return 'CLOSED'
