-- Key rotation: which keys the started authorizations are sealed under. They live ten minutes and are never re-sealed,
-- so a retired key is needed until the last of them has ended.

create function integrations_private.count_authorizations_by_key()
returns table (key_id text, authorizations bigint)
language sql stable security definer set search_path = '' as $$
    select split_part(s.flow, '.', 2), count(*)
    from public.oauth_states as s
    where s.expires_at > now()
    group by 1
$$;

comment on function integrations_private.count_authorizations_by_key() is
    'How many authorizations that have not expired are sealed under each key id.';
revoke execute on function integrations_private.count_authorizations_by_key()
    from public, anon, authenticated, service_role;
grant execute on function integrations_private.count_authorizations_by_key() to integrations_worker;
