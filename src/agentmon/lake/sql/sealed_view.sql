-- Rows of whole batches; those without a query_id were collapsed by the nightly job.
SELECT t.*
FROM {source} AS t
LEFT JOIN sealed ON sealed.query_id = t.query_id
WHERE t.query_id IS NULL OR t.batch_id <= sealed.batch_id
