-- Rows of one batch → the newest value of each metric of each agent: when (microseconds since 1970), and what.
SELECT agent_id, entry.key AS metric, epoch_us(max(event_time)), arg_max(entry.value, (event_time, kafka_partition, kafka_offset))
FROM (
    SELECT agent_id, event_time, kafka_partition, kafka_offset, unnest(map_entries(metrics)) AS entry
    FROM batch
    WHERE "table" = 'metrics'
)
GROUP BY agent_id, metric
ORDER BY agent_id, metric
