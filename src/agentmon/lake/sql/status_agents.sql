-- An agent whose messages all went to quarantine has done nothing yet that could be read.
SELECT
    agent_id,
    sum(actions)::BIGINT AS actions,
    sum(thoughts)::BIGINT AS thoughts,
    sum(successes) / nullif(sum(known), 0) AS success_rate,
    coalesce(
        fsum(learning_reward_sum) / nullif(sum(learning_reward_count), 0),
        fsum(action_reward_sum) / nullif(sum(action_reward_count), 0)
    ) AS avg_reward,
    sum(learning_reward_count) > 0 AS learns,
    max(last_event_time) AS last_event_time,
    sum(errors) / nullif(sum(actions), 0) AS error_rate,
    any_value(p50_bucket) AS p50_bucket,
    any_value(p95_bucket) AS p95_bucket,
    arg_max(last_memory_bytes.value, last_memory_bytes.event_time) AS memory_bytes,
    arg_max(last_cpu_percent.value, last_cpu_percent.event_time) AS cpu_percent
FROM partials
GROUP BY agent_id
HAVING greatest(sum(actions), sum(thoughts), sum(learning), sum(metrics), sum(other)) > 0
ORDER BY agent_id
