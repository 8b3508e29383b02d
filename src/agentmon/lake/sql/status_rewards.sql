-- The newest $kept rewards of each agent, oldest first: of learning where there are any, else of actions.
-- $from_day: no agent's newest $kept rewards, of either kind, begin before it.
WITH kinds AS (
    SELECT agent_id, unnest([
        {'learned': true, 'rewards': recent_learning_rewards}, {'learned': false, 'rewards': recent_action_rewards}
    ], recursive := true)
    FROM summaries
    WHERE event_date >= $from_day AND agent_id IS DISTINCT FROM $left_out
),
single AS (
    SELECT agent_id, learned, unnest(rewards) AS r FROM kinds
)
SELECT
    agent_id,
    learned,
    list_reverse(max_by(r.reward, (r.event_time, r.kafka_partition, r.kafka_offset), $kept)) AS rewards
FROM single
GROUP BY agent_id, learned
