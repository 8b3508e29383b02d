-- Rows of some days, newest first. event_date, the partition, keeps the other days' files unread.
SELECT
    event_time, agent_id, session_id,
    {columns},
    event_id, time_source, kafka_topic, kafka_partition, kafka_offset
FROM {table}
WHERE
    event_date BETWEEN $from_day AND $to_day
    AND event_time >= $since AND event_time < $until
    AND ($agent IS NULL OR agent_id = $agent)
    AND ($session IS NULL OR session_id = $session)
    AND (NOT $nameless OR session_id IS NULL)
ORDER BY event_time DESC, kafka_partition DESC, kafka_offset DESC
LIMIT $limit
