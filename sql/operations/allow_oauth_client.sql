-- Let an app of your project's own OAuth server act for users on the integrations tables. Its tokens carry the app's
-- id in `client_id`; without an entry they reach no row. The service decides for itself too: add the same id to its
-- setting ALLOWED_OAUTH_CLIENTS. Replace the id and the note; run it in the dashboard's SQL editor.

insert into integrations_private.allowed_claims (claim, value, note)
values ('client_id', '00000000-0000-0000-0000-000000000000', 'which app, and who agreed')
on conflict (claim, value) do update set note = excluded.note;

-- Who is allowed:      select * from integrations_private.allowed_claims;
-- To take it back:     delete from integrations_private.allowed_claims where claim = 'client_id' and value = '…';
