-- People, and the two facts about an installation that may never change.
--
-- Everything of Hubbub lives in the schema `hubbub`, and every statement of the services names it.
-- That leaves the schema `public` free for the read-only views of 0005, several of which carry names
-- (`message`, `account`) that we use ourselves.
create schema if not exists hubbub;

-- Numbers that are burnt into stored data. `partitions` is part of every integer message id, so a
-- deployment that changed it would hand out ids twice. It is written by `api migrate`, which also
-- refuses to go on when it finds another value: a check in code can say what to do, a literal here
-- could only be wrong.
create table hubbub.setting (
    name  text not null,
    value text not null,
    constraint setting_pkey primary key (name)
);

-- One row per person who was ever seen, whichever issuer vouched for them.
--
-- Two names for one person, because the client dialects disagree: `id` is the token's subject (or is
-- derived from issuer and subject when that is no UUID), `no` is the integer that the older dialects
-- print. `no` may have holes; nothing but identity may be read from it.
--
-- Roles are stored twice. `roles` follows the claims at each sign-in; `roles_override` is what an
-- administrator set by hand and wins until it is null again. Without the second column the next
-- sign-in would silently undo the administrator. Roles in force = coalesce(roles_override, roles).
--
-- An empty `issuer` means that nobody has vouched for the person yet: an administrator named two friends before either
-- had signed in. The first issuer who does takes the account over.
--
-- `token_version` is raised to end all sessions of a person: a token remembers the number it was issued
-- under, and a lower number than the row's is worth nothing.
create table hubbub.account (
    id             uuid        not null,
    no             bigint      not null generated always as identity,
    issuer         text        not null,
    username       text        not null,
    full_name      text,
    avatar         text,
    roles          text[]      not null default '{}',
    roles_override text[],
    is_active      boolean     not null default true,
    token_version  integer     not null default 0,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    constraint account_pkey primary key (id),
    constraint account_no_key unique (no),
    constraint account_username_present check (username <> '')
);

-- Finding people by the beginning of their name. User names are not unique: several issuers may each
-- know an "ana", and a name that means two people is answered with 409 instead of a guess.
create index account_username_prefix on hubbub.account (lower(username) text_pattern_ops);

-- What two people are to each other: one row per pair, the smaller id first, so that "are they
-- friends" is one lookup by primary key and two crossing requests meet in the same row.
--
-- `id` names a request in the friends dialect and survives its acceptance; the next request has another one, and ids of
-- requests grow with time. A declined or ended friendship is `none`. Blocks are not here but on the pair's direct room (see
-- 0002), where sends are checked.
--
-- That a friendship begins or ends is also a membership change of that room, for the same reason, and `number` is the
-- change that made the state what it is. After Postgres came back from an older backup the persister applies such
-- changes again from the log; only a larger number may overwrite. So there are no foreign keys: the older state may not
-- know these people yet.
create table hubbub.friendship (
    id           uuid        not null default gen_random_uuid(),
    low          uuid        not null,
    high         uuid        not null,
    state        text        not null default 'none',
    requested_by uuid,
    number       bigint      not null default 0,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    constraint friendship_pkey primary key (low, high),
    constraint friendship_id_key unique (id),
    constraint friendship_ordered check (low < high),
    constraint friendship_state_known check (state in ('none', 'requested', 'accepted')),
    constraint friendship_request_has_author
        check (state <> 'requested' or requested_by is not null),
    constraint friendship_requested_by_one_of_both
        check (requested_by is null or requested_by in (low, high))
);

-- The primary key finds a person's friends with larger ids, this one those with smaller ids.
create index friendship_by_high on hubbub.friendship (high);

-- How many of a person's requests are unanswered.
create index friendship_asked on hubbub.friendship (requested_by) where state = 'requested';
