-- How often each agent used each tool.
SELECT agent_id, tool, sum(actions)::BIGINT AS n
FROM partials
WHERE tool IS NOT NULL AND actions > 0
GROUP BY ALL
