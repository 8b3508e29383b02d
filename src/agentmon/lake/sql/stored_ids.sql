-- Which of these event_ids a table has, among days that they can be of, but for rows of certain ranges of offsets.
SELECT DISTINCT event_id
FROM {table}
WHERE event_date BETWEEN $first AND $last
    AND event_id IN (SELECT unnest($ids))
    AND NOT EXISTS (
        FROM (SELECT unnest($ranges) AS r)
        WHERE r.topic_id = kafka_topic_id
            AND r."partition" = kafka_partition
            AND kafka_offset >= r."start"
            AND kafka_offset < r."end"
    )
