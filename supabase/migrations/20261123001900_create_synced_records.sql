-- What the worker copied from services, record by record, for the app's own queries and joins. The worker alone writes,
-- under declared users; it reads which records are there and when they came, never what is in them. Owners read their
-- records and may remove them.

create table public.synced_records (
    user_id uuid not null,
    integration_id uuid not null,
    resource text not null,
    external_id text not null,
    data jsonb not null,
    synced_at timestamptz not null,

    constraint synced_records_pkey primary key (user_id, integration_id, resource, external_id),
    constraint synced_records_integration_id_fkey foreign key (user_id, integration_id)
        references public.integrations (user_id, id) on delete cascade,

    constraint synced_records_resource_check check (resource ~ '^[a-z][a-z0-9_]{0,63}$'),
    constraint synced_records_external_id_check check (
        char_length(external_id) between 1 and 255 and external_id !~ '[\u0001-\u001f\u007f-\u009f]'
    ),
    constraint synced_records_data_check check (
        jsonb_typeof(data) = 'object' and octet_length(data::text) <= 524288
    )
);

comment on table public.synced_records is
    'Copies of what users'' services hold, one row a record. Written by the worker, read and removed by their owner.';
comment on column public.synced_records.user_id is 'The owner of the connection.';
comment on column public.synced_records.integration_id is 'The connection it came through.';
comment on column public.synced_records.resource is 'What kind of record, such as contacts.';
comment on column public.synced_records.external_id is 'What the service calls it; unique within the resource.';
comment on column public.synced_records.data is 'The record as the service gave it.';
comment on column public.synced_records.synced_at is
    'When the service last gave it. What a complete run did not meet again is deleted.';
comment on constraint synced_records_pkey on public.synced_records is
    'Begins with the owner; a record that comes again takes the place of the former one.';
comment on constraint synced_records_integration_id_fkey on public.synced_records is
    'With the owner in the key: records go with their connection, and belong to nobody else''s.';
comment on constraint synced_records_resource_check on public.synced_records is 'A word.';
comment on constraint synced_records_external_id_check on public.synced_records is
    'At most 255 characters, none of them a control character.';
comment on constraint synced_records_data_check on public.synced_records is 'An object of at most 512 KiB.';

alter table public.synced_records enable row level security;

revoke all on public.synced_records from public, anon, authenticated, service_role;
grant select, delete on public.synced_records to authenticated;
grant select (user_id, integration_id, resource, external_id, synced_at)
    on public.synced_records to integrations_worker;
grant insert (user_id, integration_id, resource, external_id, data, synced_at)
    on public.synced_records to integrations_worker;
grant update (data, synced_at) on public.synced_records to integrations_worker;
grant delete on public.synced_records to integrations_worker;

create policy "Owners see their records"
    on public.synced_records for select to authenticated
    using ((select auth.uid()) = user_id);
create policy "Owners remove their records"
    on public.synced_records for delete to authenticated
    using ((select auth.uid()) = user_id);
create policy "Tokens of apps and anonymous users need the operator's leave"
    on public.synced_records as restrictive for all to authenticated
    using ((select integrations_private.token_is_allowed()))
    with check ((select integrations_private.token_is_allowed()));
create policy "The worker sees records of the users it declared"
    on public.synced_records for select to integrations_worker
    using (user_id = any ((select integrations_private.acting_for())::uuid[]));
create policy "The worker adds records of the users it declared"
    on public.synced_records for insert to integrations_worker
    with check (user_id = any ((select integrations_private.acting_for())::uuid[]));
create policy "The worker changes records of the users it declared"
    on public.synced_records for update to integrations_worker
    using (user_id = any ((select integrations_private.acting_for())::uuid[]))
    with check (user_id = any ((select integrations_private.acting_for())::uuid[]));
create policy "The worker removes records of the users it declared"
    on public.synced_records for delete to integrations_worker
    using (user_id = any ((select integrations_private.acting_for())::uuid[]));

comment on policy "Owners see their records" on public.synced_records is 'Through the Data API, like their own tables.';
comment on policy "Owners remove their records" on public.synced_records is
    'They come back with the next complete run, unless the resource is no longer synced.';
comment on policy "Tokens of apps and anonymous users need the operator's leave" on public.synced_records is
    'See integrations_private.allowed_claims.';
comment on policy "The worker sees records of the users it declared" on public.synced_records is
    'Within the column grants: not what is in them.';
comment on policy "The worker adds records of the users it declared" on public.synced_records is
    'The foreign key asks for a connection of the same user.';
comment on policy "The worker changes records of the users it declared" on public.synced_records is
    'What a record is called and whose it is never changes.';
comment on policy "The worker removes records of the users it declared" on public.synced_records is
    'What the service no longer has.';
