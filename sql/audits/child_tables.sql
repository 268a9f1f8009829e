-- Tables that inherit from ours or that ours inherit from. A child's rows show in its parent, and whoever is granted
-- the child reads and writes them past the parent's policies, guards and keys.

with ours as (
    select c.oid
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'integrations_private'
        or (n.nspname = 'public' and c.relname in (
            'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
        ))
)
select
    'child_tables' as audit,
    'ERROR' as level,
    format('%I.%I', n.nspname, c.relname) as object,
    format('It inherits from %s: policies, triggers and keys of a parent do not hold for its children.', p.relname)
        as detail,
    format('alter table %I.%I no inherit %I.%I;', n.nspname, c.relname, pn.nspname, p.relname) as remediation
from pg_catalog.pg_inherits as h
join pg_catalog.pg_class as c on c.oid = h.inhrelid and c.relkind in ('r', 'p', 'f')
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_class as p on p.oid = h.inhparent
join pg_catalog.pg_namespace as pn on pn.oid = p.relnamespace
where h.inhrelid in (select o.oid from ours as o) or h.inhparent in (select o.oid from ours as o)
order by object;
