-- The newest 20 rewards of each agent, oldest first: of learning where there are any, else of actions.
-- A row that is not among the 20 with the newest last reward can't hold one of the newest 20.
-- $from_day: no agent's newest 20 rewards, of either kind, begin before it.
WITH recent AS (
    SELECT agent_id, recent_learning_rewards, recent_action_rewards FROM every_partial WHERE event_date >= $from_day
),
kinds AS (
    SELECT agent_id, true AS learned, recent_learning_rewards AS rewards FROM recent
    UNION ALL
    SELECT agent_id, false, recent_action_rewards FROM recent
),
newest_rows AS (
    SELECT agent_id, learned, rewards
    FROM kinds
    WHERE len(rewards) > 0
    QUALIFY rank() OVER (
        PARTITION BY agent_id, learned
        ORDER BY list_max(list_transform(rewards, lambda r: r.event_time)) DESC
    ) <= $kept
),
single AS (
    SELECT agent_id, learned, unnest(rewards) AS r FROM newest_rows
)
SELECT
    agent_id,
    learned,
    list_reverse(max_by(r.reward, (r.event_time, r.kafka_partition, r.kafka_offset), $kept)) AS rewards
FROM single
GROUP BY agent_id, learned
