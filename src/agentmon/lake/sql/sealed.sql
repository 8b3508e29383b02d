-- The newest batch of each run of the job that the ledger has. A run seals its batches in order, and a
-- batch that a crash left half done is finished before the next run begins: what is newer is not whole.
CREATE TEMP TABLE sealed AS
SELECT query_id, max(batch_id) AS batch_id, max(committed_at) AS committed_at
FROM {ledger}
WHERE kind = 'stored' AND query_id IS NOT NULL
GROUP BY query_id
