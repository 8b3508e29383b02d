CREATE TEMP TABLE session_rows AS
SELECT * EXCLUDE (event_date)
FROM sessions
WHERE $agent IS NULL OR agent_id = $agent
