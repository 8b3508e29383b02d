-- The rows of a listing, of some days. event_date, the partition, keeps the other days' files unread.
FROM {table}
WHERE
    event_date BETWEEN $from_day AND $to_day
    AND event_time >= $since AND event_time < $until
    AND ($agent IS NULL OR agent_id = $agent)
    AND ($session IS NULL OR session_id = $session)
    AND (NOT $nameless OR session_id IS NULL)
