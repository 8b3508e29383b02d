-- Histograms per agent: rows of older versions have them per tool only.
SELECT agent_id, coalesce(agent_duration_buckets, duration_buckets) AS buckets FROM {source}
