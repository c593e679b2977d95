#!lua flags=allow-oom
-- Publishes how far a reader has come.
-- KEYS 1 meta 2 log    ARGV 1 group 2 epoch 3 pseq 4 '1' to move the watermark 5 '1' to move the group
-- The watermark only grows; a group's ENTRIESREAD is counted from the opening, so XINFO GROUPS shows a true lag. A reader
-- that has nothing left to read of former epochs is at the beginning of this one, so its group is there on a quiet log too.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'wpseq', 'base', 'wepoch')
local current, epoch, pseq = tonumber(meta[1] or '-1'), tonumber(ARGV[2]), tonumber(ARGV[3])
if epoch > current then return 0 end
if epoch < current then
  local after, before = string.format('(%d-%d', epoch, pseq), string.format('(%d-0', current)
  if #redis.call('XRANGE', KEYS[2], after, before, 'COUNT', 1) > 0 then return 0 end
  epoch, pseq = current, 0
end
if ARGV[4] == '1' and tonumber(meta[4] or '-1') == epoch and pseq > tonumber(meta[2] or '0') then
  redis.call('HSET', KEYS[1], 'wpseq', string.format('%d', pseq))
end
if ARGV[5] == '1' then
  local read = string.format('%d', tonumber(meta[3] or '0') + pseq)
  local id = string.format('%d-%d', epoch, pseq)
  local moved = redis.pcall('XGROUP', 'SETID', KEYS[2], ARGV[1], id, 'ENTRIESREAD', read)
  if type(moved) == 'table' and moved.err then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[1], id, 'MKSTREAM', 'ENTRIESREAD', read)
  end
end
return 1
