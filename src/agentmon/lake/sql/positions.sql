-- How far each partition of each incarnation of a topic is stored; the newest incarnation comes last.
SELECT
    arg_max(cluster_id, committed_at) AS cluster_id,
    arg_max(kafka_topic, committed_at) AS topic,
    kafka_topic_id AS topic_id,
    kafka_partition AS "partition",
    max(end_offset) AS end_offset
FROM ledger
WHERE kafka_topic_id IS NOT NULL
GROUP BY kafka_topic_id, kafka_partition
ORDER BY max(committed_at), topic, kafka_partition
