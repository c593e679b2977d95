#!lua flags=allow-oom
-- Publishes how far a reader has come.
-- KEYS 1 meta 2 log    ARGV 1 group 2 epoch 3 pseq 4 '1' to move the watermark 5 '1' to move the group
-- The watermark only grows; a group's ENTRIESREAD is counted from the opening, so XINFO GROUPS shows a true lag.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'wpseq', 'base', 'wepoch')
local epoch, pseq = tonumber(ARGV[2]), tonumber(ARGV[3])
if tonumber(meta[1] or '-1') ~= epoch then return 0 end
if ARGV[4] == '1' and tonumber(meta[4] or '-1') == epoch and pseq > tonumber(meta[2] or '0') then
  redis.call('HSET', KEYS[1], 'wpseq', ARGV[3])
end
if ARGV[5] == '1' then
  local read = string.format('%d', tonumber(meta[3] or '0') + pseq)
  local id = ARGV[2] .. '-' .. ARGV[3]
  local moved = redis.pcall('XGROUP', 'SETID', KEYS[2], ARGV[1], id, 'ENTRIESREAD', read)
  if type(moved) == 'table' and moved.err then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[1], id, 'MKSTREAM', 'ENTRIESREAD', read)
  end
end
return 1
