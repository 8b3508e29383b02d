-- Each agent's sessions with an id.
CREATE TEMP TABLE session_partials AS
SELECT agent_id, count(DISTINCT session_id) AS named
FROM sessions
WHERE agent_id IS DISTINCT FROM $left_out
GROUP BY agent_id
