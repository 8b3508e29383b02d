-- One table's offsets; sealed are those below the ledger's end, the others belong to a batch that is not whole.
SELECT
    kafka_topic AS topic,
    kafka_topic_id AS topic_id,
    kafka_partition AS "partition",
    kafka_offset AS "offset",
    '{table}' = 'quarantine' AS quarantined,
    coalesce(kafka_offset < end_offset, FALSE) AS sealed
FROM {table}
LEFT JOIN audit_ends ON topic_id = kafka_topic_id AND "partition" = kafka_partition
