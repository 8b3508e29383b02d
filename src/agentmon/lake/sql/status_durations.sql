-- One histogram per agent: buckets add up.
SELECT agent_id, map_from_entries(list((bucket, n))) AS buckets
FROM (
    SELECT agent_id, bucket, sum(n)::BIGINT AS n
    FROM (
        SELECT agent_id, unnest(map_keys(duration_buckets)) AS bucket, unnest(map_values(duration_buckets)) AS n
        FROM summaries
        WHERE agent_id IS DISTINCT FROM $left_out
    )
    GROUP BY ALL
)
GROUP BY agent_id
