-- What admins did. A row is written in the transaction of the deed itself, so that there is none without the other,
-- and it stays: the record of who closed an account is worth something only if whoever could close it
-- can't change the record. The trigger holds for every role, the owner's too, until somebody with DDL rights
-- drops it; the services have none.
--
-- `accounts` are those that the deed was about, one or two. `details` hold what was set, and nothing that
-- is a secret. `request_id` is the name under which the node's own log knows the request.
create table hubbub.admin_action (
    no         bigint      not null generated always as identity,
    at         timestamptz not null default now(),
    actor      uuid        not null,
    action     text        not null,
    accounts   uuid[]      not null,
    details    jsonb       not null default '{}',
    request_id text,
    constraint admin_action_pkey primary key (no),
    constraint admin_action_known
        check (action in ('account_changed', 'sign_ins_revoked', 'friendship_made', 'friendship_ended'))
);

-- "What happened to this person", asked rarely and by people.
create index admin_action_accounts on hubbub.admin_action using gin (accounts);

create function hubbub.refuse_to_forget() returns trigger language plpgsql as $$
begin
    raise exception 'rows of %.% are neither changed nor removed', tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;

create trigger admin_action_only_grows
    before update or delete or truncate on hubbub.admin_action
    for each statement execute function hubbub.refuse_to_forget();
