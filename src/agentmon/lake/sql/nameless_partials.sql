-- When sessions without an id were seen. Few lakes have any, so their times are not read beside every id.
CREATE TEMP TABLE nameless_partials AS
SELECT agent_id, first_event_time, last_event_time
FROM nameless_sessions
WHERE session_id IS NULL AND agent_id IS DISTINCT FROM $left_out
