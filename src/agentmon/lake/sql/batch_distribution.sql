-- Rows of one batch → how often each agent did what.
SELECT agent_id, action, count(*) FROM batch WHERE "table" = 'actions' AND action IS NOT NULL GROUP BY ALL ORDER BY ALL
