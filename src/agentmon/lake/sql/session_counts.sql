-- Sessions with an id, and those without one: these end after 30 minutes of silence.
WITH named AS (
    SELECT agent_id, count(*) AS n
    FROM session_partials
    WHERE session_id IS NOT NULL
    GROUP BY agent_id
),
gaps AS (
    SELECT
        agent_id,
        first_event_time > $silence + max(last_event_time) OVER (
            PARTITION BY agent_id ORDER BY first_event_time, last_event_time
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS starts
    FROM session_partials
    WHERE session_id IS NULL
),
nameless AS (
    SELECT agent_id, count(*) FILTER (WHERE coalesce(starts, true)) AS n
    FROM gaps
    GROUP BY agent_id
)
SELECT agent_id, sum(n)::BIGINT AS sessions
FROM (FROM named UNION ALL FROM nameless)
GROUP BY agent_id
