-- The sums behind each agent's figures, so that live rows can be added to them.
SELECT
    agent_id,
    sum(actions + thoughts + learning + metrics + other + quarantined)::BIGINT AS events,
    sum(known)::BIGINT AS known,
    sum(successes)::BIGINT AS successes,
    sum(errors)::BIGINT AS errors,
    sum(action_reward_count)::BIGINT AS action_reward_count,
    coalesce(fsum(action_reward_sum), 0) AS action_reward_sum,
    sum(learning_reward_count)::BIGINT AS learning_reward_count,
    coalesce(fsum(learning_reward_sum), 0) AS learning_reward_sum,
    sum(learning_reward_count) > 0 AS learns
FROM partials
GROUP BY agent_id
