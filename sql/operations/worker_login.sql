-- Let the background worker log in. Run with psql, as the role that pushed the migrations:
--
--     psql "$DATABASE_URL" -f sql/operations/worker_login.sql
--
-- psql asks for the password and sends a SCRAM verifier of it, so that the password itself stands in no file, history
-- or log. (In the dashboard's SQL editor `alter role … password '…'` would work and be kept in the editor's history.)
-- To change the password, run this again; to lock the worker out, run `alter role integrations_worker nologin;`.
--
-- On a hosted project the worker then connects in one of these ways; hosts are those of the dashboard's page "Connect",
-- and the pooler wants the project's reference in the user name:
--
--     directly             postgresql://integrations_worker:…@db.PROJECT_REF.supabase.co:5432/postgres
--     pooler, session      postgresql://integrations_worker.PROJECT_REF:…@POOLER_HOST:5432/postgres
--     pooler, transaction  postgresql://integrations_worker.PROJECT_REF:…@POOLER_HOST:6543/postgres
--
-- WORKER_DATABASE_URL may be any of them. Announcements arrive on the first two only: give one of those as
-- WORKER_LISTEN_URL, or let the worker look once a minute. Percent-encode the password in a URL. The pooler remembers
-- passwords: for some seconds after this it may still answer 28P01 (password authentication failed) to the right one.
-- Try again before you doubt the password.

\set ON_ERROR_STOP on

-- A worker that hangs must not hold locks on users' rows.
alter role integrations_worker set statement_timeout = '30s';
alter role integrations_worker set idle_in_transaction_session_timeout = '30s';

\password integrations_worker

-- After the password, so that there is no moment with a login and none. The limit is for all workers together, and for
-- the connections that a pooler holds for them.
alter role integrations_worker login connection limit 20;
