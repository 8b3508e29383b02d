-- Tools by their actions, the most used first.
SELECT
    tool,
    sum(actions)::BIGINT AS "count",
    sum(successes) / nullif(sum(known), 0) AS success_rate,
    fsum(action_reward_sum) / nullif(sum(action_reward_count), 0) AS avg_reward
FROM partials
WHERE tool IS NOT NULL
GROUP BY tool
HAVING sum(actions) > 0
ORDER BY "count" DESC, tool
LIMIT $limit
