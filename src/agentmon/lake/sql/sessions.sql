-- One row per session: its partials added up. Rows without a session_id are merged until 30 minutes of silence.
WITH marked AS (
    SELECT
        *,
        coalesce(first_event_time > $silence + max(last_event_time) OVER (
            PARTITION BY agent_id ORDER BY first_event_time, last_event_time
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), true) AS starts
    FROM session_rows
    WHERE session_id IS NULL
),
numbered AS (
    -- By range, not by rows: partials of the same times are one place in either order.
    SELECT * EXCLUDE (starts), sum(starts::INT) OVER (PARTITION BY agent_id ORDER BY first_event_time, last_event_time RANGE UNBOUNDED PRECEDING) AS nth
    FROM marked
    UNION ALL
    SELECT *, NULL AS nth
    FROM session_rows
    WHERE session_id IS NOT NULL
),
added AS (
    SELECT
        agent_id,
        coalesce(session_id, agent_id || '@' || floor(epoch(min(first_event_time)))::BIGINT) AS session,
        session_id IS NULL AS nameless,
        min(first_event_time) AS first_event_time,
        max(last_event_time) AS last_event_time,
        sum(actions)::BIGINT AS actions,
        sum(thoughts)::BIGINT AS thoughts,
        sum(errors)::BIGINT AS errors,
        fsum(action_reward_sum) AS action_reward_sum,
        fsum(learning_reward_sum) / nullif(sum(learning_reward_count), 0) AS reward,
        min(ended_at) AS ended_by_reward
    FROM numbered
    GROUP BY agent_id, session_id, nth
)
SELECT
    session AS session_id,
    agent_id,
    first_event_time,
    last_event_time,
    round(epoch(last_event_time) - epoch(first_event_time), 6) AS duration_s,
    actions,
    thoughts,
    errors,
    reward,
    action_reward_sum,
    CASE WHEN reward > 0 THEN 'success' WHEN reward IS NOT NULL THEN 'failure' END AS outcome,
    ended_by_reward IS NULL AND last_event_time >= $now - $silence AS in_progress,
    coalesce(ended_by_reward, CASE WHEN last_event_time < $now - $silence THEN last_event_time END) AS ended_at,
    nameless
FROM added
WHERE last_event_time >= $since AND first_event_time < $until AND ($session IS NULL OR session = $session)
ORDER BY last_event_time DESC, agent_id, session
LIMIT $limit
