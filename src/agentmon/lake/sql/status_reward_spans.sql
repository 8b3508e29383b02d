-- For each agent the time (since, until) within which its newest $kept rewards of either kind lie, where it has any.
SELECT
    CASE
        WHEN (acted = 0 OR acted_lately >= $kept) AND (learned = 0 OR learned_lately >= $kept) THEN $lately
        ELSE first_window_start
    END AS since,
    last_event_time AS until
FROM (
    SELECT
        agent_id,
        sum(action_reward_count) AS acted, sum(learning_reward_count) AS learned,
        coalesce(sum(acted_lately), 0) AS acted_lately, coalesce(sum(learned_lately), 0) AS learned_lately,
        min(first_window_start) AS first_window_start, max(last_event_time) AS last_event_time
    FROM partials
    GROUP BY agent_id
)
WHERE acted > 0 OR learned > 0
