-- A table's rows of certain ranges of offsets, which lie between $first and $last: that leaves out most files.
SELECT {columns}
FROM {table}
WHERE kafka_offset BETWEEN $first AND $last AND EXISTS (
    FROM (SELECT unnest($ranges) AS r)
    WHERE r.topic_id = kafka_topic_id
        AND r."partition" = kafka_partition
        AND kafka_offset >= r."start"
        AND kafka_offset < r."end"
)
