-- Which resources of which connections are copied, and how far. A row is the wish: its owner adds and removes it, and
-- the worker keeps the rest. Where a run stands is written in the transaction of the records it stands for, so that a
-- run that was killed goes on without gaps.

create table public.sync_cursors (
    user_id uuid not null default auth.uid(),
    integration_id uuid not null,
    resource text not null,
    cursor text,
    started_at timestamptz,
    changes_since timestamptz,
    records bigint not null default 0,
    skipped bigint not null default 0,
    synced_until timestamptz,
    complete_until timestamptz,
    last_error_code text,
    failures integer not null default 0,
    next_run_at timestamptz not null default now(),
    lease_owner uuid,
    lease_until timestamptz,
    created_at timestamptz not null default now(),

    constraint sync_cursors_pkey primary key (user_id, integration_id, resource),
    constraint sync_cursors_integration_id_fkey foreign key (user_id, integration_id)
        references public.integrations (user_id, id) on delete cascade,

    constraint sync_cursors_resource_check check (resource ~ '^[a-z][a-z0-9_]{0,63}$'),
    constraint sync_cursors_cursor_check check (octet_length(cursor) <= 16384),
    constraint sync_cursors_last_error_code_check check (last_error_code ~ '^[a-z][a-z0-9_]{0,63}$'),
    constraint sync_cursors_failures_check check (failures between 0 and 100000)
);

comment on table public.sync_cursors is
    'Which resources are synced into synced_records, and how far. Owners add and remove rows; the worker keeps them.';
comment on column public.sync_cursors.user_id is 'The owner; always the caller, never the client''s to choose.';
comment on column public.sync_cursors.integration_id is 'The connection; one of the owner''s.';
comment on column public.sync_cursors.resource is 'What to copy, such as contacts; docs/sync.md lists them.';
comment on column public.sync_cursors.cursor is
    'Where the run that is under way goes on, in the service''s words and without a secret; null at its beginning.';
comment on column public.sync_cursors.started_at is 'When the run that is under way began; null while there is none.';
comment on column public.sync_cursors.changes_since is
    'The run under way asks for what changed since; null for everything.';
comment on column public.sync_cursors.records is 'How many records the run, or the last one, has stored.';
comment on column public.sync_cursors.skipped is 'How many it could not store.';
comment on column public.sync_cursors.synced_until is 'Changes made before this moment are in synced_records.';
comment on column public.sync_cursors.complete_until is
    'The same for deletions: when the last run that asked for everything began.';
comment on column public.sync_cursors.last_error_code is 'Why the last attempt ended; null after one that succeeded.';
comment on column public.sync_cursors.failures is 'Attempts that failed in a row.';
comment on column public.sync_cursors.next_run_at is 'When the worker looks at it next.';
comment on column public.sync_cursors.lease_owner is 'Who is at it, so that two never are.';
comment on column public.sync_cursors.lease_until is 'When another one may take over.';
comment on column public.sync_cursors.created_at is 'When it was asked for.';
comment on constraint sync_cursors_pkey on public.sync_cursors is 'A resource of a connection is synced once.';
comment on constraint sync_cursors_integration_id_fkey on public.sync_cursors is
    'With the owner in the key: somebody else''s connection is refused exactly as one that does not exist.';
comment on constraint sync_cursors_resource_check on public.sync_cursors is 'A word.';
comment on constraint sync_cursors_cursor_check on public.sync_cursors is 'At most 16 KiB.';
comment on constraint sync_cursors_last_error_code_check on public.sync_cursors is 'A word, not a message.';
comment on constraint sync_cursors_failures_check on public.sync_cursors is 'A count, far from overflow.';

create index sync_cursors_due_idx on public.sync_cursors (next_run_at);
comment on index public.sync_cursors_due_idx is 'What claim_due_syncs reads, the longest due first.';

alter table public.sync_cursors enable row level security;

revoke all on public.sync_cursors from public, anon, authenticated, service_role;
grant select, delete on public.sync_cursors to authenticated;
grant insert (integration_id, resource) on public.sync_cursors to authenticated;
grant select on public.sync_cursors to integrations_worker;
grant insert (user_id, integration_id, resource) on public.sync_cursors to integrations_worker;
grant update (
    cursor, started_at, changes_since, records, skipped, synced_until, complete_until, last_error_code, failures,
    next_run_at, lease_owner, lease_until
) on public.sync_cursors to integrations_worker;

create policy "Owners see what is synced for them"
    on public.sync_cursors for select to authenticated
    using ((select auth.uid()) = user_id);
create policy "Owners ask for resources of their connections"
    on public.sync_cursors for insert to authenticated
    with check ((select auth.uid()) = user_id);
create policy "Owners end what is synced for them"
    on public.sync_cursors for delete to authenticated
    using ((select auth.uid()) = user_id);
create policy "Tokens of apps and anonymous users need the operator's leave"
    on public.sync_cursors as restrictive for all to authenticated
    using ((select integrations_private.token_is_allowed()))
    with check ((select integrations_private.token_is_allowed()));
create policy "The worker sees cursors of the users it declared"
    on public.sync_cursors for select to integrations_worker
    using (user_id = any ((select integrations_private.acting_for())::uuid[]));
create policy "The worker adds cursors of the users it declared"
    on public.sync_cursors for insert to integrations_worker
    with check (user_id = any ((select integrations_private.acting_for())::uuid[]));
create policy "The worker moves cursors of the users it declared"
    on public.sync_cursors for update to integrations_worker
    using (user_id = any ((select integrations_private.acting_for())::uuid[]))
    with check (user_id = any ((select integrations_private.acting_for())::uuid[]));

comment on policy "Owners see what is synced for them" on public.sync_cursors is
    'For a screen that shows how far it is.';
comment on policy "Owners ask for resources of their connections" on public.sync_cursors is
    'The foreign key asks for a connection of theirs, and the guard bounds how many.';
comment on policy "Owners end what is synced for them" on public.sync_cursors is
    'A run that is under way ends at its next batch. The records stay until they are removed.';
comment on policy "Tokens of apps and anonymous users need the operator's leave" on public.sync_cursors is
    'See integrations_private.allowed_claims.';
comment on policy "The worker sees cursors of the users it declared" on public.sync_cursors is
    'Without a declaration there are no rows.';
comment on policy "The worker adds cursors of the users it declared" on public.sync_cursors is
    'For `integrations sync`, which an operator runs for a user.';
comment on policy "The worker moves cursors of the users it declared" on public.sync_cursors is
    'What is synced is its owner''s to say: the worker removes none.';
