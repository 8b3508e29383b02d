-- When the newest batch of the ledger's newest day was committed.
SELECT max(committed_at) AS committed_at
FROM ledger
WHERE kind = 'stored' AND event_date >= $day
