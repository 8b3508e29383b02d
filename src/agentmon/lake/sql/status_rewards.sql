-- The newest $kept rewards of each agent, oldest first: of learning, and of actions.
-- $since: no agent's newest $kept rewards, of either kind, lie in a window that ended by then.
CREATE TEMP TABLE newest_rewards AS
WITH kinds AS (
    SELECT agent_id, unnest([
        {'learned': true, 'rewards': recent_learning_rewards}, {'learned': false, 'rewards': recent_action_rewards}
    ], recursive := true)
    FROM rewarded_summaries
    WHERE window_end > $since AND agent_id IS DISTINCT FROM $left_out
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
