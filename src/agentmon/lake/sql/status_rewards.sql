-- The newest $kept rewards of each agent, oldest first: of learning, and of actions.
CREATE TEMP TABLE newest_rewards AS
WITH kinds AS (
    SELECT agent_id, window_end, unnest([
        {'learned': true, 'rewards': recent_learning_rewards}, {'learned': false, 'rewards': recent_action_rewards}
    ], recursive := true)
    FROM rewarded_summaries
    WHERE window_end > (SELECT min(since) FROM reward_spans)
),
single AS (
    SELECT agent_id, learned, unnest(rewards) AS r
    FROM kinds
    JOIN reward_spans USING (agent_id, learned)
    WHERE window_end > since
)
SELECT
    agent_id,
    learned,
    list_reverse(max_by(r.reward, (r.event_time, r.kafka_partition, r.kafka_offset), $kept)) AS rewards
FROM single
GROUP BY agent_id, learned
