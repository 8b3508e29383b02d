-- What each window that overlaps the time asked for adds up to.
CREATE TEMP TABLE partials AS
WITH opened AS {materialized} (
    SELECT
        window_start, window_end, actions, known, successes, errors,
        action_reward_count, action_reward_sum, learning_reward_count, learning_reward_sum,
        input_tokens, output_tokens, cost_usd, buckets
    FROM agent_summaries
    WHERE
        window_end > $since AND window_start < $until
        AND (agent_id = $agent OR ($agent IS NULL AND agent_id IS DISTINCT FROM $left_out))
),
sums AS (
    SELECT
        window_start, window_end,
        sum(actions)::BIGINT AS actions, sum(known)::BIGINT AS known, sum(successes)::BIGINT AS successes,
        sum(errors)::BIGINT AS errors,
        sum(action_reward_count)::BIGINT AS action_reward_count, fsum(action_reward_sum) AS action_reward_sum,
        sum(learning_reward_count)::BIGINT AS learning_reward_count, fsum(learning_reward_sum) AS learning_reward_sum,
        sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, fsum(cost_usd) AS cost_usd
    FROM opened
    GROUP BY window_start, window_end
),
entries AS (
    SELECT window_start, window_end, bucket, sum(n)::BIGINT AS n
    FROM (SELECT window_start, window_end, unnest(map_keys(buckets)) AS bucket, unnest(map_values(buckets)) AS n FROM opened)
    GROUP BY ALL
),
histograms AS (
    SELECT window_start, window_end, map_from_entries(list((bucket, n))) AS duration_buckets
    FROM entries
    GROUP BY window_start, window_end
)
SELECT sums.*, duration_buckets
FROM sums
LEFT JOIN histograms USING (window_start, window_end)
