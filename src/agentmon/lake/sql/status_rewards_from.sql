-- The first day that can hold one of an agent's newest $kept rewards: rewards of a later day are newer.
WITH days AS (
    SELECT agent_id, event_date, sum(learning_reward_count) AS learned, sum(action_reward_count) AS acted
    FROM partials
    GROUP BY ALL
),
newer AS (
    SELECT
        *,
        sum(learned) OVER newest_first - learned AS learned_after,
        sum(acted) OVER newest_first - acted AS acted_after
    FROM days
    WINDOW newest_first AS (PARTITION BY agent_id ORDER BY event_date DESC)
)
SELECT min(event_date)
FROM newer
WHERE (learned > 0 AND learned_after < $kept) OR (acted > 0 AND acted_after < $kept)
