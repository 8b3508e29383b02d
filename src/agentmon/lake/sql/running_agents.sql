-- Figures of every agent that was heard of since then, over all that the lake has of it.
SELECT
    agent_id,
    sum(actions + thoughts + learning + metrics + other + quarantined)::BIGINT AS events,
    sum(actions)::BIGINT AS actions,
    sum(known)::BIGINT AS known,
    sum(successes)::BIGINT AS successes,
    sum(action_reward_count)::BIGINT AS action_reward_count,
    coalesce(sum(action_reward_sum), 0) AS action_reward_sum,
    sum(learning_reward_count)::BIGINT AS learning_reward_count,
    coalesce(sum(learning_reward_sum), 0) AS learning_reward_sum,
    epoch_us(max(last_event_time)) AS newest_us
FROM summaries
GROUP BY agent_id
HAVING max(last_event_time) >= to_timestamp($since_s)
