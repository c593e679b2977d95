-- The tables that the client dialects' documents describe, as read-only views in `public`, so that
-- reports and monitoring queries written against those tables run here as they were written.
--
-- Rules that hold for all of them:
--   * Times are `timestamptz`, also where a document says DATETIME: `created_at > now() - interval '1 hour'`
--     is then right in every time zone of the asking session.
--   * Enumerations are text in the case the document gives them (DIRECT, TEXT; but sent, read).
--   * The views run with their owner's rights (not security_invoker): a reporting role gets `select` on
--     views and nothing on schema `hubbub`, and so never sees nonces, digests or the text of deleted
--     messages. README.md has the grants.
--   * Deleted text is shown nowhere. Where the document has `is_deleted`, the row remains without its
--     text; elsewhere it is left out.
--   * People are joined with left joins: Postgres drops such a join when a query does not ask for the
--     person, and a message whose author is not stored (yet) is still counted.
--   * Rows that have no number or uuid of their own get one that is derived from their key, hence stable.
--   * All of them can be queried and none can be written: the views over one plain table would be
--     updatable for their owner, so the rule is kept by giving nobody else more than `select`.

-- People. The documents disagree on what a user's id is, so each has its table: `account` and
-- `users` by uuid, "user" by number.
create view public.account as
select a.id as account_id, a.no as id, a.username, a.full_name, a.avatar, a.is_active, a.created_at, a.updated_at
from hubbub.account a;

create view public.users as
select a.id, a.username, a.full_name, a.avatar as avatar_url, a.is_active, a.created_at, a.updated_at
from hubbub.account a;

create view public."user" as
select a.no as id, a.username, a.full_name as name, a.is_active, a.created_at
from hubbub.account a;

-- Live chat ---------------------------------------------------------------------------------------

-- One row per window. At most one is active at a time: where two windows overlap, the later start wins.
create view public.live_chat_sessions as
select s.id,
       s.name,
       s.name as session_name,
       s.starts_at as start_time,
       s.ends_at as end_time,
       (s.starts_at <= now() and now() < s.ends_at and not exists (
           select from hubbub.live_session later
           where later.starts_at > s.starts_at and later.starts_at <= now()
       )) as is_active,
       s.total_likes,
       s.total_messages,
       (select count(*) from hubbub.viewer v where v.room = s.room and v.counted_until > now()) as viewer_count,
       s.created_at,
       s.room as room_id
from hubbub.live_session s;

create view public.live_chat_messages as
select m.no as id,
       s.id as session_id,
       a.no as user_id,
       a.username,
       a.avatar as profile_pic,
       coalesce(m.content, '') as message,
       m.kind as message_type,
       m.likes,
       m.created_at,
       'winner' = any (m.author_roles) as is_winner,
       'host' = any (m.author_roles) as is_host
from hubbub.live_session s
join hubbub.message m on m.room = s.room
left join hubbub.account a on a.id = m.author
where m.deleted_at is null;

-- Likes of the session have no message_id.
create view public.live_chat_likes as
select ('x' || left(md5(r.target::text || r.account::text), 15))::bit(60)::bigint as id,
       s.id as session_id,
       m.no as message_id,
       a.no as user_id,
       r.created_at
from hubbub.live_session s
join hubbub.reaction r on r.room = s.room
left join hubbub.message m on m.id = r.target
left join hubbub.account a on a.id = r.account;

-- `is_active` means "counted now", the number the api answers with: the person's latest sighting still
-- holds. A sighting through a socket holds for about half a minute (it is renewed every few seconds), one
-- through REST for five minutes, the closing of the last socket ends it. So the view follows the live
-- count by the seconds that the persister takes, and a node's death empties its seats within half a minute.
create view public.live_chat_viewers as
select ('x' || left(md5(v.room::text || v.account::text), 15))::bit(60)::bigint as id,
       s.id as session_id,
       a.no as user_id,
       a.username,
       v.first_seen as joined_at,
       v.last_seen,
       (v.counted_until > now() and now() < s.ends_at) as is_active
from hubbub.live_session s
join hubbub.viewer v on v.room = s.room
left join hubbub.account a on a.id = v.account;

-- Rooms -------------------------------------------------------------------------------------------

-- Live sessions are missing on purpose: they are not listed in this dialect either, and have views of their own.
create view public.chat_rooms as
select r.id,
       r.name,
       upper(r.kind) as room_type,
       r.description,
       r.avatar as avatar_url,
       r.created_by,
       r.created_at,
       r.updated_at,
       r.is_active
from hubbub.room r
where r.kind in ('direct', 'group', 'public');

create view public.chat_room_members as
select m.id, m.room as room_id, m.account as user_id, m.joined_at, m.last_read_at, m.is_admin, m.is_active
from hubbub.member m
join hubbub.room r on r.id = m.room
where r.kind in ('direct', 'group', 'public');

-- `media_url` is the address that sends those who may see it to a fresh signed one.
create view public.chat_messages as
select m.id,
       m.room as room_id,
       m.author as sender_id,
       upper(m.kind) as message_type,
       case when m.deleted_at is null then m.content end as content,
       case when m.deleted_at is null then '/api/chat/media/' || d.id::text end as media_url,
       case when m.deleted_at is null then d.filename end as media_filename,
       case when m.deleted_at is null then d.size::integer end as media_size,
       case when m.deleted_at is null then d.mime_type end as media_mime_type,
       m.reply_to as reply_to_id,
       m.forwarded_from as forwarded_from_id,
       (m.edited_at is not null) as is_edited,
       m.edited_at,
       (m.deleted_at is not null) as is_deleted,
       m.deleted_at,
       m.created_at
from hubbub.room r
join hubbub.message m on m.room = r.id
left join hubbub.media d on d.id = m.media
where r.kind in ('direct', 'group', 'public');

-- Who has read what: what was marked one by one, and all that lies at or below a member's read mark. For
-- the latter the time is that of the last move of the mark, the only one that is kept.
create view public.message_read_receipts as
select md5(t.message::text || t.account::text)::uuid as id, t.message as message_id, t.account as user_id, t.read_at
from hubbub.message_receipt t
union all
select md5(m.id::text || p.account::text)::uuid, m.id, p.account, p.last_read_at
from hubbub.member p
join hubbub.message m on m.room = p.room and (m.epoch, m.seq) <= (p.read_epoch, p.read_seq)
where m.author <> p.account
  and not exists (select from hubbub.message_receipt t where t.message = m.id and t.account = p.account);

-- Friends -----------------------------------------------------------------------------------------

-- Messages of direct rooms, seen as letters from one to the other. Status is the larger of the
-- receiver's marks and receipt, so it only moves forward.
create view public.message as
select m.id as message_id,
       m.author as sender_id,
       p.account as receiver_id,
       case when m.deleted_at is null then coalesce(m.content, '') else '' end as content,
       case
           when t.read_at is not null or (m.epoch, m.seq) <= (p.read_epoch, p.read_seq) then 'read'
           when (m.epoch, m.seq) <= (p.delivered_epoch, p.delivered_seq) then 'delivered'
           else 'sent'
       end as status,
       (m.deleted_at is not null) as is_deleted,
       m.created_at,
       greatest(m.created_at, m.edited_at, m.deleted_at) as updated_at,
       coalesce(t.read_at, case when (m.epoch, m.seq) <= (p.read_epoch, p.read_seq) then p.last_read_at end) as read_at
from hubbub.room r
join hubbub.message m on m.room = r.id
left join hubbub.member p on p.room = r.id and p.account <> m.author
left join hubbub.message_receipt t on t.message = m.id and t.account = p.account
where r.kind = 'direct';

-- Public rooms ------------------------------------------------------------------------------------

create view public.chat_room as
select r.no as id, r.name, r.description, r.created_at, r.is_active
from hubbub.room r
where r.kind = 'public';

create view public.chat_message as
select m.no as id,
       r.no as room_id,
       a.no as user_id,
       coalesce(m.content, '') as message,
       m.kind as message_type,
       m.created_at,
       (m.edited_at is not null) as is_edited,
       m.edited_at
from hubbub.room r
join hubbub.message m on m.room = r.id
left join hubbub.account a on a.id = m.author
where r.kind = 'public' and m.deleted_at is null;

-- A participant counts as online while the last sign of activity is at most five minutes old: nobody
-- else can take back the word of a node that died.
create view public.chat_participant as
select p.no as id,
       r.no as room_id,
       a.no as user_id,
       p.joined_at,
       coalesce(p.last_active, p.joined_at) as last_active,
       (p.is_online and p.last_active > now() - interval '5 minutes') is true as is_online
from hubbub.member p
join hubbub.room r on r.id = p.room
left join hubbub.account a on a.id = p.account
where r.kind = 'public';
