-- A table's rows of certain ranges of offsets.
SELECT {columns}
FROM {table}
WHERE EXISTS (
    FROM (SELECT unnest($ranges) AS r)
    WHERE r.topic_id = kafka_topic_id
        AND r."partition" = kafka_partition
        AND kafka_offset >= r."start"
        AND kafka_offset < r."end"
)
