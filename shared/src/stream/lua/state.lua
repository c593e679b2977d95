#!lua flags=no-writes
-- Who answers and whether it was opened.   KEYS 1 meta 2 log
-- Answers run, '1' when open else '0', epoch, pseq, wepoch, wpseq, at of the log's first entry ('' when empty).
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local meta = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'pseq', 'wepoch', 'wpseq')
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return { run, meta[1] == run and '1' or '0', meta[2] or '', meta[3] or '0', meta[4] or '0', meta[5] or '0',
  last[1] and last[1][1] or '' }
