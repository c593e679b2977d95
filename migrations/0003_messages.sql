-- What people said, read and liked. These are the tables of the hot path: the persister fills them in
-- batches, one transaction per batch, from a log that may be replayed at any time.
--
-- There are no foreign keys between them, nor to room and account, on purpose:
--   * A replay, or a Postgres restored from a slightly older backup, may bring a row before the row that
--     it refers to. A foreign key would stop the whole partition for an order that is legal, and
--     heals itself by the end of the replay.
--   * Each key costs a lookup and a row lock per inserted row. A thousand messages of one live room
--     would all take a share lock on the same room row that the batch updates anyway.
--   * What the keys would guard is guarded before: the api checked room, author and target when it let
--     the event into the log, and nothing enters these tables except through the log.
-- Rows are never deleted by the services, so there is nothing to cascade either.

-- Files that were uploaded. A message refers to the id; addresses are signed anew for each answer,
-- so none is stored. Written by the api inside the upload request, hence a real foreign key.
-- `store_key` is random: the stored object is never named by its uploader.
create table hubbub.media (
    id         uuid        not null,
    owner      uuid        not null,
    room       uuid,
    store_key  text        not null,
    filename   text        not null,
    mime_type  text        not null,
    size       bigint      not null,
    state      text        not null default 'pending',
    created_at timestamptz not null default now(),
    used_at    timestamptz,
    constraint media_pkey primary key (id),
    constraint media_store_key_key unique (store_key),
    constraint media_owner_fkey foreign key (owner) references hubbub.account (id),
    constraint media_state_known check (state in ('pending', 'stored', 'rejected')),
    constraint media_size_not_negative check (size >= 0)
);

-- Quotas are counted per person; uploads that no message ever used are swept by age.
create index media_by_owner on hubbub.media (owner, created_at);
create index media_unused on hubbub.media (created_at) where used_at is null;

-- A message, in one of its three names each: `id` (derived from room, author and nonce, so that a retry
-- is the same message for ever), `no` (the integer of the older dialects, derived from its place in the log)
-- and (room, epoch, seq), its place in the room's one order.
--
-- `digest` is the SHA-256 of the body as first sent. It outlives edits and deletion: the same nonce
-- with another body must be refused even when the first body is gone. `nonce` is kept
-- to be repeated to clients, not to be searched: `id` is made of it. `author_roles` are the badges at
-- the moment of sending; they do not follow later changes of the person. They are deliberately unchecked:
-- a role that only a newer release knows must not stop the persister of the older one.
--
-- (changed_epoch, changed_seq) is the position of the last event that changed the row after it was
-- sent. A client that comes back gets, besides the messages it has not seen, those that it has
-- seen in an older state. Deletion is a change too: the row stays as a tombstone with its place, its text gone.
--
-- `kind` 'unreadable' stands in for an entry that could not be stored and was parked: the place in
-- the order stays taken, so that nobody takes the hole for a loss.
create table hubbub.message (
    id             uuid        not null,
    no             bigint      not null,
    room           uuid        not null,
    author         uuid        not null,
    epoch          integer     not null,
    seq            bigint      not null,
    kind           text        not null default 'text',
    content        text,
    digest         bytea       not null,
    nonce          text        not null,
    author_roles   text[]      not null default '{}',
    likes          bigint      not null default 0,
    created_at     timestamptz not null,
    edited_at      timestamptz,
    deleted_at     timestamptz,
    deleted_by     uuid,
    changed_epoch  integer,
    changed_seq    bigint,
    reply_to       uuid,
    forwarded_from uuid,
    media          uuid,
    constraint message_pkey primary key (id),
    constraint message_no_key unique (no),
    constraint message_place_key unique (room, epoch, seq) include (author),
    constraint message_kind_known
        check (kind in ('text', 'image', 'video', 'audio', 'file', 'system', 'unreadable')),
    constraint message_likes_not_negative check (likes >= 0),
    constraint message_changed_whole check ((changed_epoch is null) = (changed_seq is null))
) with (fillfactor = 90);

-- message_place_key read backwards is the history, read forwards the replay, and with the author in it
-- also the count of unread messages of others. The indexes below stay small or cheap:
--   message_changed   only rows that were changed (edited, deleted, liked); the second half of a replay
--   message_deleted   only tombstones; unread = others' messages above the mark minus these
--   message_recent    "in the last hour"; grows at its right edge only, as rows come in time order
create index message_changed on hubbub.message (room, changed_epoch, changed_seq) where changed_epoch is not null;
create index message_deleted on hubbub.message (room, epoch, seq) include (author) where deleted_at is not null;
create index message_recent on hubbub.message (room, created_at);

-- A table that only grows is vacuumed by its inserts: without it, index-only scans would visit the
-- heap for every recent row, and the freezing would come as one storm much later.
alter table hubbub.message set (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- A message read above the reader's mark (see hubbub.member). The room is in the row so that a moving
-- mark can take its receipts with it.
create table hubbub.message_receipt (
    message uuid        not null,
    account uuid        not null,
    room    uuid        not null,
    read_at timestamptz not null,
    constraint message_receipt_pkey primary key (message, account)
);

create index message_receipt_by_reader on hubbub.message_receipt (account, room);

-- A like: one row per person and target, so that a replayed like finds its row already there and the
-- totals are counted from rows really inserted. The target is a message, or the room itself for a
-- like of the live session. Taking a like back deletes the row; the log knows the rest.
create table hubbub.reaction (
    room       uuid        not null,
    target     uuid        not null,
    account    uuid        not null,
    created_at timestamptz not null,
    constraint reaction_pkey primary key (target, account)
);

create index reaction_by_room on hubbub.reaction (room, created_at);

-- Who watches, as the last heartbeats told. Live presence is kept in Redis; this is its shadow for reports.
--
-- `counted_until` is a lease, for the same reason as there: whoever is to be counted must be renewed, so
-- that a node that dies takes nobody with it for ever. The sighting says how long it holds: a socket's
-- heartbeat for little longer than the next one takes, a call over REST for five minutes, the
-- closing of a person's last socket not at all. The latest sighting wins, an older one that is
-- replayed changes nothing. Rows are updated every few seconds: room in the page, no index on the times.
create table hubbub.viewer (
    room          uuid        not null,
    account       uuid        not null,
    first_seen    timestamptz not null,
    last_seen     timestamptz not null,
    counted_until timestamptz not null,
    constraint viewer_pkey primary key (room, account)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
