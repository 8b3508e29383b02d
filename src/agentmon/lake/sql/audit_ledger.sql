-- Which offsets of which partition of which incarnation of a topic the ledger has, by what became of them.
SELECT
    kafka_topic AS topic,
    kafka_topic_id AS topic_id,
    kafka_partition AS "partition",
    kind,
    start_offset,
    end_offset,
    messages
FROM ledger
WHERE kafka_topic_id IS NOT NULL
ORDER BY committed_at
