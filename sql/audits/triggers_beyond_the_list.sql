-- Triggers and rules of our tables that differ from the migrations': added, changed, switched off or dropped. A trigger
-- that comes last undoes what the guards decided, and a rule comes before all of them.

with written (object, definition) as (
    values
        (
            'announce_changed_integration on public.integrations',
            $$CREATE TRIGGER announce_changed_integration AFTER UPDATE OF next_refresh_at, status ON public.integrations
            FOR EACH ROW WHEN (((new.status = ANY (ARRAY['active'::text, 'error'::text])) AND (new.next_refresh_at <
            (clock_timestamp() + make_interval(secs => (60)::double precision))) AND ((new.next_refresh_at IS DISTINCT
            FROM old.next_refresh_at) OR (old.status <> ALL (ARRAY['active'::text, 'error'::text]))))) EXECUTE FUNCTION
            integrations_private.announce_due_refresh()$$
        ),
        (
            'announce_new_integration on public.integrations',
            $$CREATE TRIGGER announce_new_integration AFTER INSERT ON public.integrations FOR EACH ROW WHEN
            (((new.status = ANY (ARRAY['active'::text, 'error'::text])) AND (new.next_refresh_at < (clock_timestamp() +
            make_interval(secs => (60)::double precision))))) EXECUTE FUNCTION
            integrations_private.announce_due_refresh()$$
        ),
        (
            'guard_integration_insert on public.integrations',
            'CREATE TRIGGER guard_integration_insert BEFORE INSERT ON public.integrations FOR EACH ROW EXECUTE FUNCTION
            integrations_private.guard_new_integration()'
        ),
        (
            'guard_integration_lease on public.integrations',
            'CREATE TRIGGER guard_integration_lease BEFORE UPDATE OF refresh_lease_owner, refresh_lease_until ON
            public.integrations FOR EACH ROW EXECUTE FUNCTION integrations_private.guard_refresh_lease()'
        ),
        (
            'guard_integration_update on public.integrations',
            'CREATE TRIGGER guard_integration_update BEFORE UPDATE ON public.integrations FOR EACH ROW EXECUTE FUNCTION
            integrations_private.guard_changed_integration()'
        ),
        (
            'guard_oauth_state_insert on public.oauth_states',
            'CREATE TRIGGER guard_oauth_state_insert BEFORE INSERT ON public.oauth_states FOR EACH ROW EXECUTE FUNCTION
            integrations_private.guard_oauth_state()'
        ),
        (
            'guard_sync_cursor_insert on public.sync_cursors',
            'CREATE TRIGGER guard_sync_cursor_insert BEFORE INSERT ON public.sync_cursors FOR EACH ROW EXECUTE FUNCTION
            integrations_private.guard_sync_cursor()'
        ),
        (
            'record_integration_change on public.integrations',
            'CREATE TRIGGER record_integration_change AFTER UPDATE OF service_type, external_account_id, display_name,
            status, credentials, config, scopes, expires_at, last_error_code ON public.integrations FOR EACH ROW EXECUTE
            FUNCTION integrations_private.record_integration_event()'
        ),
        (
            'record_integration_presence on public.integrations',
            'CREATE TRIGGER record_integration_presence AFTER INSERT OR DELETE ON public.integrations FOR EACH ROW
            EXECUTE FUNCTION integrations_private.record_integration_event()'
        )
),
-- Long ones are written on several lines.
listed (object, definition) as (
    select w.object, regexp_replace(w.definition, '\s+', ' ', 'g') from written as w
),
present (object, definition) as (
    select
        format('%s on %I.%I', coalesce(k.conname, t.tgname), n.nspname, c.relname),
        concat_ws(
            ' ', pg_get_triggerdef(t.oid), case when t.tgenabled not in ('O', 'A') then 'SWITCHED OFF' end
        )
    from pg_catalog.pg_trigger as t
    -- A foreign key has triggers of its own on both tables; on theirs it is ours all the same.
    left join pg_catalog.pg_constraint as k on k.oid = t.tgconstraint and t.tgisinternal
    join pg_catalog.pg_class as c on c.oid = coalesce(k.conrelid, t.tgrelid)
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where (
            n.nspname = 'integrations_private'
            or (n.nspname = 'public' and c.relname in (
                'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
            ))
        )
        and (not t.tgisinternal or t.tgenabled not in ('O', 'A'))
    union all
    select format('rule %s on %I.%I', w.rulename, n.nspname, c.relname), pg_get_ruledef(w.oid)
    from pg_catalog.pg_rewrite as w
    join pg_catalog.pg_class as c on c.oid = w.ev_class and c.relkind in ('r', 'p')
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'integrations_private'
        or (n.nspname = 'public' and c.relname in (
            'integrations', 'oauth_states', 'integration_events', 'synced_records', 'sync_cursors'
        ))
)
select
    'triggers_beyond_the_list' as audit,
    'ERROR' as level,
    coalesce(p.object, l.object) as object,
    case
        when l.object is null then format('It is not one of the migrations: %s.', p.definition)
        when p.object is null then 'The trigger is missing.'
        else format('The trigger was changed. The migrations make: %s. It is: %s.', l.definition, p.definition)
    end as detail,
    case
        when p.object is null then 'Create it as the migration does.'
        when l.object is not null then 'If it was only switched off, enable it; else create it again.'
        when p.definition like 'CREATE CONSTRAINT TRIGGER%' then 'Enable or drop it; a foreign key has such triggers.'
        else 'Drop it.'
    end as remediation
from listed as l
full join present as p on p.object = l.object
where p.definition is distinct from l.definition
order by object;
