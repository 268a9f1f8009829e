-- A schema of our own for what is nobody's business: guards, the worker's functions, the operator's settings. It is
-- not among the Data API's exposed schemas, and `authenticated` may not even look up names in it; policies and
-- triggers reach what they need because they were bound to it when they were created.

create schema integrations_private;

comment on schema integrations_private is
    'Guards, worker functions and operator settings of the integrations tables. Never add it to the exposed schemas.';

revoke all on schema integrations_private from public, anon, authenticated, service_role;

-- Two integers, so that the lock shares no number with an application's own one-argument advisory locks.
create function integrations_private.lock_user(owner uuid) returns void
language sql volatile security invoker set search_path = ''
return pg_catalog.pg_advisory_xact_lock(1768846437, pg_catalog.hashtext(owner::text));

comment on function integrations_private.lock_user(uuid) is
    'Lets one transaction at a time count and add rows of one user, so that quotas hold under concurrency.';

revoke execute on function integrations_private.lock_user(uuid) from public, anon, authenticated, service_role;
