-- A claim ranks the 5,000 longest due connections, which it reads from the front of integrations_due_idx. Before the
-- table was first analyzed, as after a restore, the planner takes few rows for due and would sooner fetch all of them by
-- a bitmap and sort: all 10,000 of 10,000 due ones, where tried. Without bitmaps it walks the index whatever it thinks.

alter function integrations_private.claim_due_refreshes(integer, uuid) set enable_bitmapscan = off;
