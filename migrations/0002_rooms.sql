-- Rooms, who is in them, and the membership changes that still have to reach the log.

-- A room is any conversation: a live session's chat, two friends, a group, a named public theme.
--
-- Two writers share the row, and each owns its columns. The api owns the name and `number`,
-- `restricting`: it commits a membership change here first and appends it to the log afterwards. The persister
-- owns `stored_number`, `last_epoch`, `last_seq`, `last_message_at`: it follows the log. The three
-- numbers are apart for a reason. When Redis has lost its memory, the room's version in the log is
-- seeded with `stored_number`, what the log is known to have said; seeded with `number` instead, a
-- change that was committed but not yet logged would be taken for logged, and the removed person's
-- open sockets would never be told.
--
-- (last_epoch, last_seq) is the last position whose effects are stored. Rooms that have messages are updated
-- once per batch of the persister, so a part of each page stays free and no index covers these
-- columns: such updates then touch the heap page alone (HOT).
--
-- `created_by` has no foreign key, as everything the persister may have to restore: after Postgres
-- came back from a slightly older backup it applies membership entries from the log to rows that refer
-- to people whom this older state may not know yet.
create table hubbub.room (
    id              uuid        not null,
    no              bigint      not null generated always as identity,
    kind            text        not null,
    name            text,
    description     text,
    avatar          text,
    created_by      uuid,
    is_active       boolean     not null default true,
    number          bigint      not null default 0,
    restricting     bigint      not null default 0,
    stored_number   bigint      not null default 0,
    last_epoch      integer     not null default 0,
    last_seq        bigint      not null default 0,
    member_count    integer     not null default 0,
    last_message_at timestamptz,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    constraint room_pkey primary key (id),
    constraint room_no_key unique (no),
    constraint room_kind_known check (kind in ('live', 'direct', 'group', 'public')),
    constraint room_public_is_named check (kind <> 'public' or name is not null)
) with (fillfactor = 70);

-- The public dialect addresses rooms by name alone.
create unique index room_public_name on hubbub.room (name) where kind = 'public';

-- The public rooms that every installation has. Their ids are fixed, so that a restored or copied
-- installation agrees with its own log about which room an entry belongs to.
insert into hubbub.room (id, kind, name, description) values
    ('6f0b6f2e-52a5-4d0e-9d43-0f7d7a1c0001', 'public', 'general', 'General fitness discussion and motivation'),
    ('6f0b6f2e-52a5-4d0e-9d43-0f7d7a1c0002', 'public', 'workout-tips', 'Share workout tips and exercise advice'),
    ('6f0b6f2e-52a5-4d0e-9d43-0f7d7a1c0003', 'public', 'nutrition', 'Discuss nutrition and meal planning'),
    ('6f0b6f2e-52a5-4d0e-9d43-0f7d7a1c0004', 'public', 'progress', 'Share your fitness progress and achievements');

-- One row per person and room, kept when the person leaves (`is_active` false): the history of who
-- was in a room is part of the room, and a returning member is the same member.
--
-- `number` is the membership change that produced the row's present state. It lets a change be applied
-- twice, or late, without harm: only a larger number may overwrite.
--
-- `is_banned` outlasts membership: who is banned does not come back by joining. `blocks` says, in a direct room, that this
-- person blocks the other. A block is a membership change like the others, because it must be checked where the order
-- is made; blocking a stranger therefore makes the direct room.
--
-- Marks. Everything up to (read_epoch, read_seq) is read, everything up to (delivered_epoch,
-- delivered_seq) has reached a device of the person; message_receipt holds only what is read above the
-- mark. So "read all" in a room of a thousand people is one update and not a thousand rows. What has arrived is moved by the api whose socket
-- took the bytes, once a second at most; `unread` by the persister, with the rows that it counts.
-- `unread` counts for direct rooms only; groups count over message_place (0003).
--
-- `is_online` is what the public dialect shows of a participant. It is believed only while `last_active` is
-- recent: a node that died can no longer take its people off the list.
create table hubbub.member (
    room            uuid        not null,
    account         uuid        not null,
    id              uuid        not null default gen_random_uuid(),
    no              bigint      not null generated always as identity,
    number          bigint      not null default 0,
    is_admin        boolean     not null default false,
    is_active       boolean     not null default true,
    is_online       boolean     not null default false,
    is_banned       boolean     not null default false,
    blocks          boolean     not null default false,
    read_epoch      integer     not null default 0,
    read_seq        bigint      not null default 0,
    delivered_epoch integer     not null default 0,
    delivered_seq   bigint      not null default 0,
    unread          bigint      not null default 0,
    joined_at       timestamptz not null default now(),
    left_at         timestamptz,
    last_read_at    timestamptz,
    last_active     timestamptz,
    constraint member_pkey primary key (room, account),
    constraint member_id_key unique (id),
    constraint member_no_key unique (no),
    constraint member_unread_not_negative check (unread >= 0)
) with (fillfactor = 80);

-- A person's rooms.
create index member_by_account on hubbub.member (account, room) where is_active;

-- Whom a person blocks.
create index member_blocks on hubbub.member (account) where blocks;

-- A live session: one window around one draw, and the room in which it is talked about.
--
-- `starts_at` is unique, because every node computes the same windows and whichever needs one first
-- creates it. Clients print `id` ("session 1"), so ids are to follow each other without holes; they
-- are therefore taken under an advisory lock and never by an insert that may fail (a failed insert
-- burns its number). The totals are kept by the persister, in the transaction of the rows they count.
create table hubbub.live_session (
    id             bigint      not null generated always as identity,
    room           uuid        not null,
    name           text        not null,
    starts_at      timestamptz not null,
    ends_at        timestamptz not null,
    total_likes    bigint      not null default 0,
    total_messages bigint      not null default 0,
    created_at     timestamptz not null default now(),
    constraint live_session_pkey primary key (id),
    constraint live_session_room_key unique (room),
    constraint live_session_start_key unique (starts_at),
    constraint live_session_room_fkey foreign key (room) references hubbub.room (id),
    constraint live_session_not_empty check (starts_at < ends_at)
) with (fillfactor = 50);

-- "Which session is on now" asks for the latest start that has not ended.
create index live_session_window on hubbub.live_session (starts_at desc, ends_at);

-- Membership changes that are committed but not known to be in the log. The request that commits one
-- appends it at once; a row that outlives its request was left by a crash and is swept. The row is deleted
-- by the persister in the transaction that stores the entry, never by the api: until then the log
-- could still lose it. Rows of one room are logged in the order of their numbers, hence the key.
create table hubbub.outbox (
    room        uuid        not null,
    number      bigint      not null,
    restricting boolean     not null default false,
    to_accounts uuid[]      not null default '{}',
    body        text        not null,
    created_at  timestamptz not null default now(),
    constraint outbox_pkey primary key (room, number),
    constraint outbox_number_positive check (number > 0)
);
