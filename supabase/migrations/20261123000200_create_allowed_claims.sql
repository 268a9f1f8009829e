-- Who may call at all. Supabase gives the role `authenticated` to two kinds of token besides its users' own: tokens
-- that its OAuth server issued to a third-party app (they carry `client_id`) and those of anonymous sign-ins
-- (`is_anonymous`). Both are refused on every table of ours unless the operator has entered the claim here
-- (sql/operations/).

create table integrations_private.allowed_claims (
    claim text not null,
    value text not null,
    note text not null default '',
    created_at timestamptz not null default now(),
    constraint allowed_claims_pkey primary key (claim, value),
    constraint allowed_claims_claim_check check (claim = 'client_id' or (claim = 'is_anonymous' and value = 'true')),
    constraint allowed_claims_value_check check (char_length(value) between 1 and 255)
);

comment on table integrations_private.allowed_claims is
    'Claims that refuse a token unless they are listed: a client_id of an OAuth app, or is_anonymous = true.';
comment on column integrations_private.allowed_claims.claim is 'client_id or is_anonymous.';
comment on column integrations_private.allowed_claims.value is 'The value the token must carry, compared as text.';
comment on column integrations_private.allowed_claims.note is 'Why it is allowed, for the next operator.';
comment on column integrations_private.allowed_claims.created_at is 'When it was allowed.';
comment on constraint allowed_claims_pkey on integrations_private.allowed_claims is 'A claim is allowed once.';
comment on constraint allowed_claims_claim_check on integrations_private.allowed_claims is
    'Only the two claims that the tables look at; another one would be an entry without effect.';
comment on constraint allowed_claims_value_check on integrations_private.allowed_claims is 'Bounds the value.';

alter table integrations_private.allowed_claims enable row level security;

revoke all on integrations_private.allowed_claims from public, anon, authenticated, service_role;
grant select (claim, value) on integrations_private.allowed_claims to authenticated;

create policy "A token sees the entries it carries itself"
    on integrations_private.allowed_claims for select to authenticated
    using (value = (select auth.jwt()) ->> claim);

comment on policy "A token sees the entries it carries itself" on integrations_private.allowed_claims is
    'Lets token_is_allowed run with the caller''s rights and still keeps the list from everyone.';

-- A body that is parsed here and now, so that callers need no right to look up names in this schema. Not a definer
-- function: one that API roles may execute is what every audit looks for.
create function integrations_private.token_is_allowed() returns boolean
language sql stable security invoker set search_path = ''
return not exists (
    select
    from (values
        ('client_id', auth.jwt() ->> 'client_id'),
        ('is_anonymous', nullif(auth.jwt() ->> 'is_anonymous', 'false'))
    ) as carried (claim, value)
    where carried.value is not null
        and not exists (
            select
            from integrations_private.allowed_claims as allowed
            where allowed.claim = carried.claim and allowed.value = carried.value
        )
);

comment on function integrations_private.token_is_allowed() is
    'False for a token of an OAuth app or of an anonymous user that allowed_claims does not list.';

revoke execute on function integrations_private.token_is_allowed() from public, anon, authenticated, service_role;
grant execute on function integrations_private.token_is_allowed() to authenticated;
