-- Postgres looks for the name of a type or a table in the session's temporary schema first, unless search_path says
-- where that schema comes: an empty search_path does not. A role that can connect can usually create a domain
-- pg_temp.timestamptz whose check calls a function of its own, and our security definer functions, which declare such
-- variables, would have run that function as their owner. That was tried as integrations_worker, and worked. With
-- pg_temp named last, a type is always Postgres' own.

do $$
declare
    ours record;
begin
    for ours in
        select f.oid::regprocedure as signature
        from pg_catalog.pg_proc as f
        where f.pronamespace = 'integrations_private'::regnamespace
    loop
        execute format('alter function %s set search_path = pg_catalog, pg_temp', ours.signature);
    end loop;
end
$$;
