-- One histogram per agent: buckets add up.
SELECT agent_id, map_from_entries(list((bucket, n))) AS buckets
FROM (
    SELECT agent_id, bucket, sum(n)::BIGINT AS n
    FROM (
        SELECT agent_id, unnest(buckets) AS bucket, unnest(bucket_counts) AS n
        FROM every_partial
    )
    GROUP BY ALL
)
GROUP BY agent_id
