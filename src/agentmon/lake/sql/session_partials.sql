-- Each agent's sessions: how many with an id, and the times of those rows that have none.
CREATE TEMP TABLE session_partials AS
SELECT
    agent_id,
    count(DISTINCT session_id) AS named,
    list(struct_pack(first_event_time, last_event_time)) FILTER (WHERE session_id IS NULL) AS nameless
FROM sessions
WHERE agent_id IS DISTINCT FROM $left_out
GROUP BY agent_id
