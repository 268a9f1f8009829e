-- Let users of anonymous sign-ins have connections. They are refused without this entry: whoever opens your page can
-- make one, each with a quota of its own, and loses it with the browser's storage. Mind Supabase's rate limit for
-- anonymous sign-ins before you allow them. The service decides for itself too: set ALLOW_ANONYMOUS_USERS.
-- Run in the dashboard's SQL editor.

insert into integrations_private.allowed_claims (claim, value, note)
values ('is_anonymous', 'true', 'why, and who agreed')
on conflict (claim, value) do update set note = excluded.note;

-- To take it back:     delete from integrations_private.allowed_claims where claim = 'is_anonymous';
