-- Clear away what has expired: needs the extension pg_cron (dashboard, Database, Extensions). Events are kept for a
-- year here; less than 30 days is not possible, and creations always stay. Run it in the dashboard's SQL editor, as
-- often as wanted: a job of the same name is replaced.

select cron.schedule(
    'integrations: purge expired authorizations', '*/10 * * * *',
    $$ select integrations_private.purge_expired_states(10000) $$
);
select cron.schedule(
    'integrations: purge old events', '17 3 * * *',
    $$ select integrations_private.purge_old_events('365 days', 10000) $$
);

-- To stop:     select cron.unschedule(jobname) from cron.job where jobname like 'integrations: purge %';
