-- A state works once, also against its own user, who could consume it and insert the row again with the same or other
-- contents. So every hash is remembered from its insert on, for longer than a state can be valid (its sealed expiry is
-- ten minutes). The memory's primary key makes the rule hold under concurrency, and its size is the quota.

create table integrations_private.seen_states (
    user_id uuid not null,
    state_hash text not null,
    seen_at timestamptz not null,
    constraint seen_states_pkey primary key (user_id, state_hash),
    constraint seen_states_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
    constraint seen_states_state_hash_check check (state_hash ~ '^[0-9a-f]{64}$')
);

comment on table integrations_private.seen_states is
    'Hashes of the states of the last 15 minutes, pending or used. Written by guard_oauth_state, read by nobody else.';
comment on column integrations_private.seen_states.user_id is 'Who inserted it.';
comment on column integrations_private.seen_states.state_hash is 'The hash, as in public.oauth_states.';
comment on column integrations_private.seen_states.seen_at is 'When it was inserted; forgotten 15 minutes later.';
comment on constraint seen_states_pkey on integrations_private.seen_states is 'A user''s state works once.';
comment on constraint seen_states_state_hash_check on integrations_private.seen_states is
    'Written before the same check on public.oauth_states is made: nothing oversized reaches the index.';
comment on constraint seen_states_user_id_fkey on integrations_private.seen_states is
    'A deleted user''s states are forgotten.';

create index seen_states_seen_at_idx on integrations_private.seen_states (seen_at);
comment on index integrations_private.seen_states_seen_at_idx is 'What purge_expired_states deletes.';

alter table integrations_private.seen_states enable row level security;

revoke all on integrations_private.seen_states from public, anon, authenticated, service_role;

create policy "Nobody reads or writes the memory of states"
    on integrations_private.seen_states as restrictive for all to authenticated
    using (false)
    with check (false);
comment on policy "Nobody reads or writes the memory of states" on integrations_private.seen_states is
    'The guard does, as the table''s owner.';

create function integrations_private.guard_oauth_state() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
declare
    clock constant timestamptz := clock_timestamp();
begin
    perform integrations_private.lock_user(new.user_id);
    delete from public.oauth_states as s where s.user_id = new.user_id and s.expires_at <= clock;
    delete from integrations_private.seen_states as s
    where s.user_id = new.user_id and s.seen_at <= clock - interval '15 minutes';

    if (select count(*) from integrations_private.seen_states as s where s.user_id = new.user_id) >= 200 then
        raise exception 'too many authorizations: refused by "oauth_states_quota"' using
            errcode = 'program_limit_exceeded', constraint = 'oauth_states_quota',
            detail = 'A user may start at most 200 authorizations in 15 minutes.', hint = 'Try again later.';
    end if;

    insert into integrations_private.seen_states (user_id, state_hash, seen_at)
    values (new.user_id, new.state_hash, clock)
    on conflict do nothing;
    if not found then
        raise exception 'this state was used before: refused by "oauth_states_used_once"' using
            errcode = 'unique_violation', constraint = 'oauth_states_used_once',
            detail = 'A state works once.', hint = 'Start the authorization again.';
    end if;

    new.expires_at := clock + interval '10 minutes';
    return new;
end
$$;

comment on function integrations_private.guard_oauth_state() is
    'Sets the expiry; refuses a state that was ever inserted before, and more than 200 in 15 minutes.';
revoke execute on function integrations_private.guard_oauth_state() from public, anon, authenticated, service_role;

create trigger guard_oauth_state_insert before insert on public.oauth_states
    for each row execute function integrations_private.guard_oauth_state();
comment on trigger guard_oauth_state_insert on public.oauth_states is 'See guard_oauth_state.';
