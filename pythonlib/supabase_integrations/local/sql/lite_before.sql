-- Before the local Auth and Data API server starts for the first time. `supabase_lite` is its login role: no superuser,
-- owner of nothing but the schema `auth`, member of the API roles without inheriting what they may do.

do $$
declare
    wanted record;
begin
    for wanted in
        select * from (values
            ('supabase_lite', 'login noinherit'),
            ('supabase_migrations_owner', 'nologin')
        ) as roles (name, attributes)
    loop
        if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
            execute format('create role %I %s', wanted.name, wanted.attributes);
        end if;
    end loop;
    -- It runs `create schema if not exists` at every start.
    execute format('grant create on database %I to supabase_lite', current_database());
end
$$;

grant anon, authenticated, service_role to supabase_lite with inherit false, set true;

-- The server alters the migration history's tables at every start, and `supabase db push` at every push.
grant supabase_migrations_owner to supabase_lite with inherit true;
grant supabase_migrations_owner to postgres with inherit true;
create schema if not exists supabase_migrations authorization supabase_migrations_owner;
