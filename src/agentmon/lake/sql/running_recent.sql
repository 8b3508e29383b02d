-- The newest 20 rewards of actions and of learning, per agent.
WITH recent AS (
    SELECT agent_id, 'action' AS kind, unnest(recent_action_rewards) AS r FROM summaries
    UNION ALL
    SELECT agent_id, 'learning', unnest(recent_learning_rewards) FROM summaries
),
flat AS (
    SELECT
        agent_id,
        kind,
        {
            'at': epoch_us(r.event_time),
            'part': r.kafka_partition,
            'off': r.kafka_offset,
            'reward': r.reward
        } AS entry
    FROM recent
    SEMI JOIN running USING (agent_id)
)
SELECT agent_id, kind, max(entry, 20) AS newest
FROM flat
GROUP BY agent_id, kind
