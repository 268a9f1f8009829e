-- Credentials and flows that are not envelopes (the first hundred): readable by whoever sees the row.

with stored as (
    select format('public.integrations %s of %s', i.id, i.user_id) as object, i.credentials as envelope
    from public.integrations as i
    where i.credentials is not null
    union all
    select format('public.oauth_states %s of %s', s.state_hash, s.user_id), s.flow
    from public.oauth_states as s
)
select
    'credentials_not_sealed' as audit,
    'ERROR' as level,
    s.object,
    'What is stored is not an envelope v1.<key id>.<base64url>: it may be a secret in plain text.' as detail,
    'Delete the row, revoke the secret at the service, and find out what wrote it past the check.' as remediation
from stored as s
where s.envelope !~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{38,}$'
order by s.object
limit 100;
