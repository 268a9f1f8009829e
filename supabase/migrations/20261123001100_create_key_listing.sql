-- Key rotation: which keys are in use, and which rows are sealed under one of them. Ids and owners only; the worker
-- then declares those users and re-seals under a lease like anyone else. Both walk integrations_key_idx, so that no
-- credentials are read.

create function integrations_private.count_integrations_by_key()
returns table (key_id text, integrations bigint)
language sql stable security definer set search_path = '' as $$
    with recursive keys (key_id) as (
        (
            select split_part(i.credentials, '.', 2)
            from public.integrations as i
            where i.credentials is not null
            order by split_part(i.credentials, '.', 2)
            limit 1
        )
        union all
        -- From each key straight to the next one: as many steps as there are keys, not rows.
        select (
            select split_part(i.credentials, '.', 2)
            from public.integrations as i
            where i.credentials is not null and split_part(i.credentials, '.', 2) > k.key_id
            order by split_part(i.credentials, '.', 2)
            limit 1
        )
        from keys as k
        where k.key_id is not null
    )
    select
        k.key_id,
        (
            select count(*)
            from public.integrations as i
            where i.credentials is not null and split_part(i.credentials, '.', 2) = k.key_id
        )
    from keys as k
    where k.key_id is not null
$$;

comment on function integrations_private.count_integrations_by_key() is
    'How many connections are sealed under each key id; a key that is not listed may be retired.';
revoke execute on function integrations_private.count_integrations_by_key()
    from public, anon, authenticated, service_role;
grant execute on function integrations_private.count_integrations_by_key() to integrations_worker;

create function integrations_private.list_integrations_sealed_under(
    key_id text, after_user_id uuid, after_id uuid, max_rows integer
)
returns table (user_id uuid, id uuid)
language sql stable security definer set search_path = '' as $$
    select i.user_id, i.id
    from public.integrations as i
    where i.credentials is not null
        and split_part(i.credentials, '.', 2) = list_integrations_sealed_under.key_id
        and (i.user_id, i.id) > (
            coalesce(after_user_id, '00000000-0000-0000-0000-000000000000'),
            coalesce(after_id, '00000000-0000-0000-0000-000000000000')
        )
    order by i.user_id, i.id
    limit least(greatest(coalesce(max_rows, 100), 1), 500)
$$;

comment on function integrations_private.list_integrations_sealed_under(text, uuid, uuid, integer) is
    'Up to max_rows (1 to 500) connections sealed under key_id, after a position (nulls: from the start).';
revoke execute on function integrations_private.list_integrations_sealed_under(text, uuid, uuid, integer)
    from public, anon, authenticated, service_role;
grant execute on function integrations_private.list_integrations_sealed_under(text, uuid, uuid, integer)
    to integrations_worker;
