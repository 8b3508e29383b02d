-- What status needs of summaries, read once: every figure below comes from this one snapshot.
CREATE TEMP TABLE partials AS
SELECT
    agent_id, tool,
    actions, thoughts, learning, metrics, other, quarantined,
    known, successes, errors,
    action_reward_count, action_reward_sum, learning_reward_count, learning_reward_sum,
    duration_buckets, last_event_time,
    recent_action_rewards, recent_learning_rewards, last_memory_bytes, last_cpu_percent,
    query_id, batch_id
FROM summaries
WHERE agent_id IS DISTINCT FROM $left_out
