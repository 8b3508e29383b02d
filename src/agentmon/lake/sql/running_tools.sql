-- How often each agent used each tool; of very many, the most used by name and the rest together.
WITH counted AS (
    SELECT agent_id, tool AS name, sum(actions)::BIGINT AS n
    FROM summaries
    SEMI JOIN running USING (agent_id)
    WHERE tool IS NOT NULL AND actions > 0
    GROUP BY agent_id, tool
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY agent_id ORDER BY n DESC, name) AS place
    FROM counted
)
SELECT agent_id, CASE WHEN place <= $max_names THEN name ELSE $other END AS name, sum(n)::BIGINT AS n
FROM ranked
GROUP BY ALL
