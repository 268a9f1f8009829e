-- Let the background worker log in. Run with psql, as the role that pushed the migrations:
--
--     psql "$DATABASE_URL" -f sql/operations/worker_login.sql
--
-- psql asks for the password and sends a SCRAM verifier of it, so that the password itself stands in no file, history
-- or log. (In the dashboard's SQL editor `alter role … password '…'` would work and be kept in the editor's history.)
-- The worker then connects as integrations_worker, through Supabase's pooler as integrations_worker.PROJECT_REF. To
-- change the password, run this again; to lock the worker out, run `alter role integrations_worker nologin;`.

\set ON_ERROR_STOP on

-- A worker that hangs must not hold locks on users' rows.
alter role integrations_worker set statement_timeout = '30s';
alter role integrations_worker set idle_in_transaction_session_timeout = '30s';

\password integrations_worker

-- After the password, so that there is no moment with a login and none.
alter role integrations_worker login connection limit 20;
