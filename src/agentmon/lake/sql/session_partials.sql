-- What counting sessions needs: each session once. Only rows without a session_id need their times.
CREATE TEMP TABLE session_partials AS
SELECT
    agent_id,
    session_id,
    CASE WHEN session_id IS NULL THEN first_event_time END AS first_event_time,
    CASE WHEN session_id IS NULL THEN last_event_time END AS last_event_time
FROM sessions
WHERE agent_id IS DISTINCT FROM $left_out
GROUP BY ALL
