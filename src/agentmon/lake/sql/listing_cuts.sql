-- The first moment of each part of so many rows of a listing, newest first; of a moment all rows are in one part.
SELECT DISTINCT event_time
FROM (
    SELECT event_time, row_number() OVER (ORDER BY event_time DESC) AS number
    FROM {table}
    WHERE
        event_date BETWEEN $from_day AND $to_day
        AND event_time >= $since AND event_time < $until
        AND ($agent IS NULL OR agent_id = $agent)
        AND ($session IS NULL OR session_id = $session)
        AND (NOT $nameless OR session_id IS NULL)
)
WHERE number % $limit = 0
ORDER BY event_time DESC
