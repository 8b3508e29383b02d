-- Figures per bucket of time; buckets in which nothing happened are left out. The rewards are of one kind
-- all along, so that the buckets compare: of learning where there are any in the time asked for, else of actions.
WITH bucketed AS (
    SELECT *, time_bucket($width, window_start, TIMESTAMPTZ '1970-01-01 00:00:00Z') AS bucket FROM partials
),
histograms AS (
    SELECT bucket, map_from_entries(list((duration_bucket, n))) AS durations
    FROM (
        SELECT bucket, duration_bucket, sum(n)::BIGINT AS n
        FROM (
            SELECT bucket, unnest(map_keys(duration_buckets)) AS duration_bucket, unnest(map_values(duration_buckets)) AS n
            FROM bucketed
        )
        GROUP BY ALL
    )
    GROUP BY bucket
)
SELECT
    bucket AS bucket_start,
    bucket + $width AS bucket_end,
    sum(actions)::BIGINT AS actions,
    sum(successes) / nullif(sum(known), 0) AS success_rate,
    CASE
        WHEN (SELECT sum(learning_reward_count) FROM partials) > 0
        THEN fsum(learning_reward_sum) / nullif(sum(learning_reward_count), 0)
        ELSE fsum(action_reward_sum) / nullif(sum(action_reward_count), 0)
    END AS avg_reward,
    sum(errors)::BIGINT AS errors,
    greatest(-9223372036854775808, least(9223372036854775807, sum(input_tokens)))::BIGINT AS input_tokens,
    greatest(-9223372036854775808, least(9223372036854775807, sum(output_tokens)))::BIGINT AS output_tokens,
    fsum(cost_usd) AS cost_usd,
    any_value(durations) AS durations
FROM bucketed LEFT JOIN histograms USING (bucket)
GROUP BY bucket
ORDER BY bucket
