-- What Postgres knows about the log: how far each partition is stored, who may store it, and what
-- could not be stored.

-- One row per partition, and the whole safety of the persister in it. A lease alone is a promise about
-- time, and a paused process breaks such promises without noticing. Therefore the transaction that
-- writes a batch begins with
--     update hubbub.partition set watermark = $new where id = $id and fence = $mine and watermark = $old
-- and ends there when no row answers: whoever took the lease over has raised the fence.
-- (epoch, watermark) is the last entry of the log whose effects are stored, committed together with them.
-- `lease_until` is compared with Postgres' clock only. `lost_range` tells, once, which entries were
-- found missing from the log before they were stored; it is there to be read by people.
--
-- The rows (one per partition) are inserted by `api migrate`, which knows how many there are.
--
-- Every batch updates its row, several hundred times a second in all, on what would be one page. A low
-- fillfactor leaves the page to the versions of few rows, no index covers a changing column, and
-- autovacuum comes after a count of dead rows instead of a share of sixteen.
create table hubbub.partition (
    id          smallint    not null,
    fence       bigint      not null default 0,
    owner       uuid,
    lease_until timestamptz not null default '-infinity',
    epoch       integer     not null default 0,
    watermark   bigint      not null default 0,
    lost_range  jsonb,
    constraint partition_pkey primary key (id),
    constraint partition_id_not_negative check (id >= 0)
) with (
    fillfactor = 10,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_threshold = 100000
);

-- Workers that are alive, so that several can share the partitions without talking to each other:
-- each computes the same owners from the same list. A row that is no longer refreshed does not count.
create table hubbub.worker (
    boot    uuid        not null,
    kind    text        not null,
    seen_at timestamptz not null,
    constraint worker_pkey primary key (boot),
    constraint worker_kind_known check (kind in ('persister', 'fanout', 'api'))
);

-- Entries that no retry would ever store: malformed bodies, values that Postgres refuses. They are parked
-- with their raw bytes (bytea: they may be anything), so that a repaired release can store them, and
-- so that one bad entry does not hold up its partition. `redriven_at` keeps the row as a record.
create table hubbub.dead_letter (
    partition   smallint    not null,
    epoch       integer     not null,
    pseq        bigint      not null,
    room        uuid,
    sqlstate    text,
    reason      text        not null,
    fields      jsonb       not null default '{}',
    body        bytea       not null,
    parked_at   timestamptz not null default now(),
    redriven_at timestamptz,
    constraint dead_letter_pkey primary key (partition, epoch, pseq)
);

create index dead_letter_open on hubbub.dead_letter (parked_at) where redriven_at is null;
