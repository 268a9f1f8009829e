-- What happened to connections, and by whom: names of changed columns, never values. Only triggers write it.
-- There is no foreign key: events are also written while a user's rows are cascaded away, and outlive them.

create table public.integration_events (
    id bigint generated always as identity,
    user_id uuid not null,
    integration_id uuid not null,
    service_name text not null,
    event text not null,
    actor_role text not null,
    actor_id uuid,
    changed_columns text[] not null default '{}',
    created_at timestamptz not null default now(),
    constraint integration_events_pkey primary key (id)
);

comment on table public.integration_events is
    'Audit trail of public.integrations, written by triggers alone. Owners read their own; it outlives the user.';
comment on column public.integration_events.id is 'Grows with time; the position for paging.';
comment on column public.integration_events.user_id is 'Owner of the connection.';
comment on column public.integration_events.integration_id is 'The connection, which may be gone.';
comment on column public.integration_events.service_name is 'The connection''s service.';
comment on column public.integration_events.event is
    'integration.created, integration.updated, integration.deleted, credentials.replaced or status.changed.';
comment on column public.integration_events.actor_role is
    'The role that acted: authenticated, integrations_worker, supabase_auth_admin (the user was deleted), postgres …';
comment on column public.integration_events.actor_id is 'The user whose token was used, where one was.';
comment on column public.integration_events.changed_columns is 'Names of the columns an update changed, in order.';
comment on column public.integration_events.created_at is 'When it happened.';
comment on constraint integration_events_pkey on public.integration_events is 'An event is itself.';
comment on sequence public.integration_events_id_seq is 'Numbers the events.';

create index integration_events_history_idx on public.integration_events (user_id, integration_id, id);
comment on index public.integration_events_history_idx is
    'One connection''s history, newest first; also finds whether an id was used before.';

create index integration_events_recent_idx on public.integration_events (user_id, created_at);
comment on index public.integration_events_recent_idx is 'Counts one user''s last hour, for the flood limit.';

create index integration_events_purge_idx on public.integration_events (created_at)
    where event <> 'integration.created';
comment on index public.integration_events_purge_idx is 'What purge_old_events may delete, oldest first.';

alter table public.integration_events enable row level security;

revoke all on public.integration_events from public, anon, authenticated, service_role;
revoke all on sequence public.integration_events_id_seq from public, anon, authenticated, service_role;
grant select on public.integration_events to authenticated;

create policy "Owners read what happened to their connections"
    on public.integration_events for select to authenticated
    using ((select auth.uid()) = user_id);
create policy "Tokens of apps and anonymous users need the operator's leave"
    on public.integration_events as restrictive for all to authenticated
    using ((select integrations_private.token_is_allowed()))
    with check ((select integrations_private.token_is_allowed()));

comment on policy "Owners read what happened to their connections" on public.integration_events is
    'Reading is all that anyone may do.';
comment on policy "Tokens of apps and anonymous users need the operator's leave" on public.integration_events is
    'See integrations_private.allowed_claims.';
