-- Default privileges in our private schema: what the next migration creates there would be granted before it can be
-- revoked. The migrations set none. (What was granted by others' is found by grants_beyond_the_list.)

select
    'default_privileges' as audit,
    'ERROR' as level,
    format('schema %I', n.nspname) as object,
    format(
        'On what %s creates here %s will be granted %s.', d.defaclrole::regrole,
        case when g.grantee = 0 then 'everyone' else g.grantee::regrole::text end,
        string_agg(lower(g.privilege_type), ', ' order by g.privilege_type)
    ) as detail,
    format(
        'alter default privileges for role %s in schema %I revoke all on %s from %s;', d.defaclrole::regrole, n.nspname,
        case d.defaclobjtype
            when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' else 'types'
        end,
        case when g.grantee = 0 then 'public' else g.grantee::regrole::text end
    ) as remediation
from pg_catalog.pg_default_acl as d
join pg_catalog.pg_namespace as n on n.oid = d.defaclnamespace
cross join aclexplode(d.defaclacl) as g
where n.nspname = 'integrations_private'
    and g.grantee <> d.defaclrole
    -- Of a role that cannot create anything there they never take effect. Anyone may set their own.
    and has_schema_privilege(d.defaclrole, n.oid, 'CREATE')
group by n.nspname, d.defaclrole, d.defaclobjtype, g.grantee
order by object, detail;
