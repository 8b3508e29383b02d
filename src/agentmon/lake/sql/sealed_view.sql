-- Rows of whole batches; those without a query_id were collapsed by the nightly job.
-- Not a join: it would carry every column of every row through its hash table.
SELECT *
FROM {source}
WHERE query_id IS NULL OR batch_id <= getvariable('sealed')[query_id]
