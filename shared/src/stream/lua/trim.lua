#!lua flags=allow-oom
-- Drops entries that Postgres has and that are old enough, with what was remembered of them.
-- KEYS 1 meta 2 memo 3 log    ARGV 1 retention in ms 2 most entries
-- Answers how many entries went.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'wepoch', 'wpseq', 'bytes')
local epoch, wepoch, wpseq = tonumber(meta[1] or '0'), tonumber(meta[2] or '0'), tonumber(meta[3] or '0')
local bytes = tonumber(meta[4] or '0')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function read(entry)
  local e, p = string.match(entry[1], '^(%d+)-(%d+)$')
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return tonumber(e), tonumber(p), fields
end
local function may_go(e, p, fields)
  local stored = e < wepoch or (e == wepoch and p <= wpseq)
  return stored and now - (tonumber(fields.at) or 0) >= tonumber(ARGV[1])
end

-- Mostly the oldest has to stay, and then none needs to be read.
local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
if not oldest or not may_go(read(oldest)) then return 0 end

local gone, first_kept, trimmed = 0, nil, nil
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', ARGV[2])) do
  local e, p, fields = read(entry)
  if not may_go(e, p, fields) then break end
  if e == epoch then
    for key in string.gmatch(fields.memo or '', '%S+') do
      local mark = redis.call('HGET', KEYS[2], key)
      if mark and tonumber(string.match(mark, '^%d+')) == p then redis.call('HDEL', KEYS[2], key) end
    end
    trimmed = p
  end
  bytes = bytes - #(fields.body or '') - 200
  gone = gone + 1
  first_kept = string.format('%d-%d', e, p + 1)
end
if gone > 0 then
  redis.call('XTRIM', KEYS[3], 'MINID', first_kept)
  redis.call('HSET', KEYS[1], 'bytes', string.format('%d', math.max(bytes, 0)))
  if trimmed then redis.call('HSET', KEYS[1], 'trimmed', string.format('%d', trimmed)) end
end
return gone
