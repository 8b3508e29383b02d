-- Partials of the sessions that can be meant: one of $session may have no id, and is told by its agent and start.
CREATE TEMP TABLE session_rows AS
SELECT * EXCLUDE (event_date)
FROM sessions
WHERE ($agent IS NULL OR agent_id = $agent) AND ($session IS NULL OR session_id IS NULL OR session_id = $session)
