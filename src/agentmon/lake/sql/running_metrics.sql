-- The newest value of each metric since then, per agent, up to the ledger's positions.
WITH entries AS (
    SELECT m.agent_id, m.event_time, m.kafka_offset, unnest(map_entries(m.metrics)) AS e
    FROM metrics AS m
    JOIN positions AS p ON p.topic_id = m.kafka_topic_id AND p.partition = m.kafka_partition
    SEMI JOIN running ON running.agent_id = m.agent_id
    WHERE m.kafka_offset < p.end_offset AND m.ingest_time >= to_timestamp($since_s)
)
SELECT
    agent_id,
    e.key AS name,
    epoch_us(max(event_time)) AS at_us,
    arg_max(e.value, (event_time, kafka_offset)) AS value
FROM entries
WHERE e.value IS NOT NULL
GROUP BY agent_id, e.key
QUALIFY row_number() OVER (PARTITION BY agent_id ORDER BY at_us DESC, name) <= $max_names
