-- Authorizations that were started and not finished. Everything that matters is in the sealed flow; the row proves
-- that this user started it, for ten minutes, and is consumed by one `delete … returning`, so that it works once. No
-- column is updatable. An expired row is invisible to its owner and cannot be consumed, whatever filter a client
-- forgets: the policies say so, and the guard or the worker clears it away.

create table public.oauth_states (
    user_id uuid not null default auth.uid(),
    state_hash text not null,
    flow text not null,
    integration_id uuid,
    expires_at timestamptz not null default now() + interval '10 minutes',
    constraint oauth_states_pkey primary key (user_id, state_hash),
    constraint oauth_states_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
    constraint oauth_states_integration_id_fkey foreign key (user_id, integration_id)
        references public.integrations (user_id, id) on delete cascade,
    constraint oauth_states_state_hash_check check (state_hash ~ '^[0-9a-f]{64}$'),
    constraint oauth_states_flow_check check (
        octet_length(flow) <= 16384 and flow ~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{38,}$'
    )
);

comment on table public.oauth_states is
    'Pending authorizations: found only by the user who started them, consumed by deletion, gone after ten minutes.';
comment on column public.oauth_states.user_id is 'Who started it; always the caller, never the client''s to choose.';
comment on column public.oauth_states.state_hash is 'SHA-256 of the state, in hex. The state itself is not stored.';
comment on column public.oauth_states.flow is
    'Sealed envelope, bound to user and state: verifier, service, redirect, scopes. Every decision is made from it.';
comment on column public.oauth_states.integration_id is 'The connection to reconnect, if that is what was started.';
comment on column public.oauth_states.expires_at is
    'Ten minutes after the insert by the database''s clock, whatever the client sends.';
comment on constraint oauth_states_pkey on public.oauth_states is
    'Begins with the owner, so that somebody else''s state looks like none.';
comment on constraint oauth_states_user_id_fkey on public.oauth_states is
    'A deleted user''s authorizations go with them.';
comment on constraint oauth_states_integration_id_fkey on public.oauth_states is
    'With the owner in the key: somebody else''s connection is refused exactly as one that does not exist.';
comment on constraint oauth_states_state_hash_check on public.oauth_states is 'Nothing that is not a hash.';
comment on constraint oauth_states_flow_check on public.oauth_states is 'At most 16 KiB, and only an envelope.';

create index oauth_states_integration_id_idx on public.oauth_states (user_id, integration_id);
comment on index public.oauth_states_integration_id_idx is 'For the foreign key, when a connection is deleted.';

create index oauth_states_expires_at_idx on public.oauth_states (expires_at);
comment on index public.oauth_states_expires_at_idx is 'What purge_expired_states deletes.';

alter table public.oauth_states enable row level security;

revoke all on public.oauth_states from public, anon, authenticated, service_role;
grant select, delete on public.oauth_states to authenticated;
grant insert (state_hash, flow, integration_id) on public.oauth_states to authenticated;

create policy "Owners see their authorizations until they expire"
    on public.oauth_states for select to authenticated
    using ((select auth.uid()) = user_id and expires_at > now());
create policy "Owners start authorizations of their own"
    on public.oauth_states for insert to authenticated
    with check ((select auth.uid()) = user_id);
create policy "Owners consume their authorizations until they expire"
    on public.oauth_states for delete to authenticated
    using ((select auth.uid()) = user_id and expires_at > now());
create policy "Tokens of apps and anonymous users need the operator's leave"
    on public.oauth_states as restrictive for all to authenticated
    using ((select integrations_private.token_is_allowed()))
    with check ((select integrations_private.token_is_allowed()));

comment on policy "Owners see their authorizations until they expire" on public.oauth_states is
    'Also what lets `delete … returning` return.';
comment on policy "Owners start authorizations of their own" on public.oauth_states is 'Within the guard''s quota.';
comment on policy "Owners consume their authorizations until they expire" on public.oauth_states is
    'On the database''s clock, so that no client has to compare times.';
comment on policy "Tokens of apps and anonymous users need the operator's leave" on public.oauth_states is
    'See integrations_private.allowed_claims.';
