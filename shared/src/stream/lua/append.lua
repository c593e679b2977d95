#!lua
-- Gives one event its place in the log, or says why not. One script, so that the checks and the place are one step.
--
-- KEYS  1 meta  2 rooms  3 memo  4 log  5 rate window of (room, person)  6 how far the author's names were ahead
-- ARGV  see the table `ARG`; '' means absent.
-- Answers, in this order of precedence:
--   NOTOPEN | DUP epoch pseq seq at | REUSED | NEEDSEED what epoch now wepoch wpseq | WAIT number | STALEAUTH number
--   | AHEAD number | GONE | SAME total | RATE ms | OVERLOADED | OK epoch pseq seq at total
--
-- meta  run epoch pseq wepoch wpseq trimmed opened at bytes base      (w… = the published watermark)
-- rooms room -> "seq prev number restricting"
-- memo  n:<message> -> "pseq seq at digest"    the nonce of a retained entry
--       t:<target>  -> "pseq total own"        likes of a target; total is 'x' when the target is deleted
--       g:<target>:<person> -> "pseq state"    whether that person likes it
-- The first number of a memo is the last entry that wrote it; trimming that entry takes the memo along.
local ARG = {
  room = 1, to = 2, body = 3, nonce = 4, digest = 5, nonce_ms = 6, checked = 7, number = 8, restricting = 9,
  target = 10, person = 11, wanted = 12, own_target = 13, rate_max = 14, rate_window = 15, cap_entries = 16,
  cap_bytes = 17, retain = 18, seed_epoch = 19, seed_time = 20, seed_wepoch = 21, seed_wpseq = 22,
  seed_room = 23, seed_nonce = 24, seed_target = 25,
}
local SEED_FRESH_MS = 5000
local CLOCK_GRACE_MS = 1000
local ENTRY_OVERHEAD = 200

local function arg(name) local v = ARGV[ARG[name]]; if v == '' or v == nil then return nil end; return v end
local function num(name) local v = arg(name); return v and tonumber(v) end
local function int(n) return string.format('%d', n) end
local function words(text) local out = {}; for w in string.gmatch(text, '%S+') do out[#out + 1] = w end; return out end

local meta = {}
do
  local names = { 'run', 'epoch', 'pseq', 'wepoch', 'wpseq', 'trimmed', 'opened', 'at', 'bytes' }
  local values = redis.call('HMGET', KEYS[1], unpack(names))
  for i, name in ipairs(names) do meta[name] = values[i] end
end
-- The process that answers must be the one that was opened; only the process itself can say which it is.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if meta.run ~= run then return { 'NOTOPEN' } end
for _, name in ipairs({ 'epoch', 'pseq', 'wepoch', 'wpseq', 'trimmed', 'opened', 'at', 'bytes' }) do
  meta[name] = tonumber(meta[name] or '0')
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- A retry.
local nonce = arg('nonce')
local nonce_key = nonce and ('n:' .. nonce)
if nonce then
  local known = redis.call('HGET', KEYS[3], nonce_key)
  if known then
    local w = words(known)
    if w[4] ~= arg('digest') then return { 'REUSED' } end
    return { 'DUP', int(meta.epoch), w[1], w[2], w[3] }
  end
end

-- What Postgres must tell first. A seed counts only while nothing can have happened that neither it nor Redis knows of:
-- what is not trimmed is remembered here, so it has to know what was trimmed. (To ask for all that is published let sends
-- starve: while much is stored, Postgres' answer is behind before it arrives.)
local seeded = num('seed_epoch') == meta.epoch
  and now - num('seed_time') < SEED_FRESH_MS
  and num('seed_wepoch') == meta.epoch
  and num('seed_wpseq') >= meta.trimmed
local function seed(name) return seeded and arg(name) or nil end
local needs = {}

local room = arg('room')
local counter
if room then
  counter = redis.call('HGET', KEYS[2], room)
  if not counter then
    local stored = seed('seed_room')
    if stored then
      local w = words(stored)
      counter = w[1] .. ' 0 ' .. w[2] .. ' ' .. w[3]
    else
      needs[#needs + 1] = 'room'
    end
  end
end

if nonce and not seed('seed_nonce') then
  local made = num('nonce_ms')
  local drawn_here = made == -1
  -- Made since the opening, so lately that whatever was sent under it is still remembered, and by a clock that never said a
  -- later time: such a name may have been used long before the time that it says.
  local fresh = made > meta.opened + CLOCK_GRACE_MS and now - made < num('retain') / 2 and made <= now
    and made > tonumber(redis.call('GET', KEYS[6]) or '0')
  if not (drawn_here or fresh) then needs[#needs + 1] = 'nonce' end
end

local target, person, wanted = arg('target'), arg('person'), arg('wanted')
local target_key = target and ('t:' .. target)
local guard_key = target and ('g:' .. target .. ':' .. (person or ''))
local total, own, state
if target then
  local known = redis.call('HGET', KEYS[3], target_key)
  if known then
    local w = words(known)
    total, own = w[2], tonumber(w[3])
    local guard = redis.call('HGET', KEYS[3], guard_key)
    state = guard and words(guard)[2]
    -- Every change since `own` is still retained, so a person without a guard has not liked.
    if not state and own >= meta.trimmed and own >= 0 then state = '0' end
  end
  -- An edit or a deletion asks nothing about likes.
  local wants_state = wanted == '0' or wanted == '1'
  if not total or (wants_state and not state and total ~= 'x') then
    local stored = seed('seed_target')
    if stored then
      local w = words(stored)
      if not total then
        total = w[1]
        own = (total == '0') and meta.pseq or -1
      end
      state = state or w[2]
    else
      needs[#needs + 1] = 'target'
    end
  end
end

if #needs > 0 then
  return { 'NEEDSEED', table.concat(needs, ' '), int(meta.epoch), int(now), int(meta.wepoch), int(meta.wpseq) }
end

-- Permission, where the order is made.
local w = counter and words(counter) or { '0', '0', '0', '0' }
local seq, prev, number, restricting = tonumber(w[1]), tonumber(w[2]), tonumber(w[3]), tonumber(w[4])
local change = num('number')
if change then
  if change <= number then return { 'DUP', int(meta.epoch), '0', int(seq), int(meta.at) } end
  if change > number + 1 then return { 'WAIT', int(number) } end
elseif num('checked') then
  if num('checked') < restricting then return { 'STALEAUTH', int(restricting) } end
  if num('checked') > number then return { 'AHEAD', int(number) } end
end

if target then
  if total == 'x' then return { 'GONE' } end
  if wanted ~= '-' and state == wanted then return { 'SAME', total } end
end

-- Rates and room for more. Nothing has been consumed so far.
local rate_max, window = num('rate_max'), num('rate_window')
if rate_max then
  local oldest = redis.call('LINDEX', KEYS[5], rate_max - 1)
  if oldest and now - tonumber(oldest) < window then return { 'RATE', int(tonumber(oldest) + window - now) } end
end
local body = ARGV[ARG.body]
local backlog = meta.epoch == meta.wepoch and meta.pseq - meta.wpseq or meta.pseq
if not change and (backlog >= num('cap_entries') or meta.bytes + #body > num('cap_bytes')) then
  return { 'OVERLOADED' }
end

-- Accepted.
local pseq, at = meta.pseq + 1, math.max(now, meta.at)
local id = int(meta.epoch) .. '-' .. int(pseq)
local memo_keys = {}
local fields = { 'at', int(at), 'body', body }
local function field(name, value) fields[#fields + 1] = name; fields[#fields + 1] = value end
local function remember(key, value)
  redis.call('HSET', KEYS[3], key, int(pseq) .. ' ' .. value)
  memo_keys[#memo_keys + 1] = key
end

if room then
  seq = seq + 1
  if change then
    number = change
    if arg('restricting') then restricting = change end
  end
  redis.call('HSET', KEYS[2], room, table.concat({ int(seq), int(pseq), int(number), int(restricting) }, ' '))
  field('room', room)
  field('seq', int(seq))
  field('prev', int(prev))
end
if arg('to') then field('to', arg('to')) end
if nonce and num('nonce_ms') > now then
  -- Later openings and trims leave this alone: it lasts until none of these names can be taken for a young one.
  local ahead = math.max(num('nonce_ms'), tonumber(redis.call('GET', KEYS[6]) or '0'))
  redis.call('SET', KEYS[6], int(ahead), 'PXAT', int(ahead + num('retain')))
end
if nonce then remember(nonce_key, table.concat({ int(seq), int(at), arg('digest') }, ' ')) end
if arg('own_target') then remember('t:' .. arg('own_target'), '0 ' .. int(pseq)) end
if target then
  if wanted == 'x' then
    total = 'x'
  elseif wanted ~= '-' then
    total = int(tonumber(total) + (wanted == '1' and 1 or -1))
    remember(guard_key, wanted)
    field('total', total)
  end
  remember(target_key, total .. ' ' .. int(own))
end
if #memo_keys > 0 then field('memo', table.concat(memo_keys, ' ')) end
redis.call('XADD', KEYS[4], id, unpack(fields))
redis.call('HSET', KEYS[1], 'pseq', int(pseq), 'at', int(at), 'bytes', int(meta.bytes + #body + ENTRY_OVERHEAD))
if rate_max then
  redis.call('LPUSH', KEYS[5], int(now))
  redis.call('LTRIM', KEYS[5], 0, rate_max - 1)
  redis.call('PEXPIRE', KEYS[5], window)
end
return { 'OK', int(meta.epoch), int(pseq), int(seq), int(at), total or '' }
