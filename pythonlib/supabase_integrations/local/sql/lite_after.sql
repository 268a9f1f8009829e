-- After the local Auth and Data API server has started, and again after each push.

-- The history's tables, which the server made as its own.
do $$
declare
    history record;
begin
    for history in
        select c.oid::regclass as name
        from pg_catalog.pg_class c
        where c.relkind = 'r'
            and c.relnamespace = 'supabase_migrations'::regnamespace
            and c.relowner = 'supabase_lite'::regrole
    loop
        execute format('alter table %s owner to supabase_migrations_owner', history.name);
    end loop;
end
$$;

-- As on a hosted project: policies and functions may call auth.uid(), migrations may reference auth.users.
grant usage on schema auth to anon, authenticated, service_role, postgres;
grant all on all tables in schema auth to postgres;

-- In each schema with a table under row security the server runs GRANT ALL … TO the API roles. Without any privilege of
-- its own that fails, and the request with it; with these, which show the shape of a table and no row, it is a warning.
do $$
declare
    guarded record;
begin
    for guarded in
        select distinct c.relnamespace::regnamespace as name
        from pg_catalog.pg_class c
        where c.relrowsecurity and c.relowner <> 'supabase_lite'::regrole
    loop
        execute format('grant usage on schema %s to supabase_lite', guarded.name);
        execute format('grant references on all tables in schema %s to supabase_lite', guarded.name);
        execute format('grant usage on all sequences in schema %s to supabase_lite', guarded.name);
    end loop;
end
$$;
