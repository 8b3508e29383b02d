-- Rows of older versions have histograms per tool only.
SELECT *, coalesce(agent_duration_buckets, duration_buckets) AS buckets FROM {source}
