-- Agents whose actions told an absurd time: their clocks are off.
SELECT agent_id, count(*) AS n
FROM actions
WHERE event_date >= $since::DATE AND event_time >= $since AND time_source = 'clamped'
GROUP BY agent_id
ORDER BY n DESC
LIMIT 5
