-- How often each agent did what, up to the ledger's positions; of very many, the most frequent by name.
WITH counted AS (
    SELECT a.agent_id, a.action AS name, count(*) AS n
    FROM actions AS a
    JOIN positions AS p ON p.topic_id = a.kafka_topic_id AND p.partition = a.kafka_partition
    SEMI JOIN running ON running.agent_id = a.agent_id
    WHERE a.action IS NOT NULL AND a.kafka_offset < p.end_offset
    GROUP BY a.agent_id, a.action
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY agent_id ORDER BY n DESC, name) AS place
    FROM counted
)
SELECT agent_id, CASE WHEN place <= $max_names THEN name ELSE $other END AS name, sum(n)::BIGINT AS n
FROM ranked
GROUP BY ALL
