-- Tables of ours in a publication: Realtime sends subscribers whole rows, ciphertext included, and deletions of
-- anyone's.

select
    'published_tables' as audit,
    'ERROR' as level,
    format('%I.%I', p.schemaname, p.tablename) as object,
    format('It is published by %s: every column of a row is sent, and deletions regardless of their owner.', p.pubname)
        as detail,
    format('alter publication %I drop table %I.%I;', p.pubname, p.schemaname, p.tablename) as remediation
from pg_catalog.pg_publication_tables as p
where p.schemaname = 'integrations_private'
    or (p.schemaname = 'public' and p.tablename in (
        'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
    ))
order by object, p.pubname;
