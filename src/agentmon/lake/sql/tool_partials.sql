CREATE TEMP TABLE partials AS
SELECT tool, actions, known, successes, action_reward_count, action_reward_sum, query_id, batch_id
FROM summaries
WHERE
    event_date BETWEEN $since::DATE - 1 AND $until::DATE
    AND window_end > $since AND window_start < $until
    AND (agent_id = $agent OR ($agent IS NULL AND agent_id IS DISTINCT FROM $left_out))
