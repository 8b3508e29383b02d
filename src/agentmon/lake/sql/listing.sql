-- Rows of some days, newest first.
SELECT
    event_time, agent_id, session_id,
    {columns},
    event_id, time_source, kafka_topic, kafka_partition, kafka_offset
{rows}
ORDER BY event_time DESC, kafka_partition DESC, kafka_offset DESC
LIMIT $limit
