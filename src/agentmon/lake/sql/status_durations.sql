-- One histogram per agent: buckets add up. Of each, the buckets of the quantiles $p50 and $p95, as in measures.py.
WITH buckets AS (
    SELECT agent_id, bucket, sum(n) AS n
    FROM (
        SELECT agent_id, unnest(map_keys(buckets)) AS bucket, unnest(map_values(buckets)) AS n
        FROM agent_durations
        WHERE agent_id IS DISTINCT FROM $left_out
    )
    GROUP BY ALL
),
seen AS (
    SELECT
        agent_id, bucket,
        sum(n) OVER (PARTITION BY agent_id ORDER BY bucket) AS seen,
        sum(n) OVER (PARTITION BY agent_id) AS total
    FROM buckets
)
SELECT agent_id, min(bucket) FILTER (seen > $p50 * (total - 1)), min(bucket) FILTER (seen > $p95 * (total - 1))
FROM seen
GROUP BY agent_id
