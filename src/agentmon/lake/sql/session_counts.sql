-- Sessions with an id, and those without one: these end after 30 minutes of silence.
WITH gaps AS (
    SELECT
        agent_id,
        first_event_time > $silence + max(last_event_time) OVER (
            PARTITION BY agent_id ORDER BY first_event_time, last_event_time
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS starts
    FROM nameless_partials
),
nameless AS (
    SELECT agent_id, count(*) FILTER (WHERE coalesce(starts, true)) AS n
    FROM gaps
    GROUP BY agent_id
)
SELECT agent_id, (named + coalesce(n, 0))::BIGINT AS sessions
FROM session_partials
LEFT JOIN nameless USING (agent_id)
