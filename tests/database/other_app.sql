-- An application that was there first: tables, a schema called `private`, guards, a view, a role, wide default privileges.

create schema private;
create table private.settings (name text primary key, value text);
create table public.notes (id bigint generated always as identity primary key, user_id uuid references auth.users, body text);
alter table public.notes enable row level security;
create policy "Own notes" on public.notes for all to authenticated
    using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
create function private.touch() returns trigger language plpgsql set search_path = '' as $$ begin return new; end $$;
create trigger touch before update on public.notes for each row execute function private.touch();
create view public.my_notes with (security_invoker = true) as select n.id, n.body from public.notes as n;
comment on table public.notes is 'Notes.';
create publication supabase_realtime for table public.notes;
do $$ begin create role reporting nologin; exception when duplicate_object then null; end $$;
alter default privileges in schema public grant select on tables to reporting;
alter default privileges grant execute on functions to reporting;
