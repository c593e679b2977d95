#!lua flags=no-writes
-- The newest part of one room, from its head down to what Postgres surely has.
-- KEYS 1 meta 2 rooms 3 log    ARGV 1 room 2 pseq to begin at ('' = the head) 3 most entries
-- Answers { epoch, wepoch, wpseq, "seq prev number restricting" or '', next pseq ('0' = the end), entries }.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'wepoch', 'wpseq')
local epoch = meta[1] or '0'
local counter = redis.call('HGET', KEYS[2], ARGV[1])
local low = meta[2] == epoch and tonumber(meta[3] or '0') or 0
local at = '0'
if ARGV[2] ~= '' then
  at = ARGV[2]
elseif counter then
  at = string.match(counter, '^%d+ (%d+)')
end
local entries = {}
while tonumber(at) > low and #entries < tonumber(ARGV[3]) do
  local id = epoch .. '-' .. at
  local found = redis.call('XRANGE', KEYS[3], id, id)
  if not found[1] then at = '0' break end
  entries[#entries + 1] = found[1]
  local fields = found[1][2]
  at = '0'
  for i = 1, #fields, 2 do
    if fields[i] == 'prev' then at = fields[i + 1] end
  end
end
if tonumber(at) <= low then at = '0' end
return { epoch, meta[2] or '0', meta[3] or '0', counter or '', at, entries }
