-- Windows that overlap the time asked for. A window is at most a day long, so the day before can matter.
CREATE TEMP TABLE partials AS
SELECT
    window_start, window_end, actions, known, successes, errors,
    action_reward_count, action_reward_sum, learning_reward_count, learning_reward_sum,
    coalesce(agent_duration_buckets, duration_buckets) AS duration_buckets, input_tokens, output_tokens, cost_usd,
    query_id, batch_id
FROM summaries
WHERE
    event_date BETWEEN $since::DATE - 1 AND $until::DATE
    AND window_end > $since AND window_start < $until
    AND (agent_id = $agent OR ($agent IS NULL AND agent_id IS DISTINCT FROM $left_out))
