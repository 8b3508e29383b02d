-- What most figures are made of, added up as the files are read: an open day lies in many, of many rows. And of each
-- agent's durations the buckets of the quantiles $p50 and $p95, as in measures.py, with each of its tools.
-- acted_in, learned_in: when the windows of the newest $kept rows with a reward begin.
CREATE TEMP TABLE partials AS
WITH opened AS {materialized} (
    SELECT
        agent_id, tool, actions, thoughts, learning, metrics, other, quarantined, known, successes, errors,
        action_reward_count, action_reward_sum, learning_reward_count, learning_reward_sum,
        window_start, last_event_time, last_memory_bytes, last_cpu_percent, buckets
    FROM agent_summaries
    WHERE agent_id IS DISTINCT FROM $left_out
),
sums AS (
    SELECT
        agent_id, tool,
        sum(actions)::BIGINT AS actions, sum(thoughts)::BIGINT AS thoughts, sum(learning)::BIGINT AS learning,
        sum(metrics)::BIGINT AS metrics, sum(other)::BIGINT AS other, sum(quarantined)::BIGINT AS quarantined,
        sum(known)::BIGINT AS known, sum(successes)::BIGINT AS successes, sum(errors)::BIGINT AS errors,
        sum(action_reward_count)::BIGINT AS action_reward_count, fsum(action_reward_sum) AS action_reward_sum,
        sum(learning_reward_count)::BIGINT AS learning_reward_count, fsum(learning_reward_sum) AS learning_reward_sum,
        max(last_event_time) AS last_event_time,
        arg_max(last_memory_bytes, last_memory_bytes.event_time) FILTER (last_memory_bytes IS NOT NULL) AS last_memory_bytes,
        arg_max(last_cpu_percent, last_cpu_percent.event_time) FILTER (last_cpu_percent IS NOT NULL) AS last_cpu_percent,
        max(window_start, $kept) FILTER (action_reward_count > 0) AS acted_in,
        max(window_start, $kept) FILTER (learning_reward_count > 0) AS learned_in
    FROM opened
    GROUP BY agent_id, tool
),
entries AS (
    SELECT agent_id, bucket, sum(n) AS n
    FROM (SELECT agent_id, unnest(map_keys(buckets)) AS bucket, unnest(map_values(buckets)) AS n FROM opened)
    GROUP BY ALL
),
seen AS (
    SELECT
        agent_id, bucket,
        sum(n) OVER (PARTITION BY agent_id ORDER BY bucket) AS seen,
        sum(n) OVER (PARTITION BY agent_id) AS total
    FROM entries
),
quantiles AS (
    SELECT
        agent_id,
        min(bucket) FILTER (seen >= $p50 * total) AS p50_bucket,
        min(bucket) FILTER (seen >= $p95 * total) AS p95_bucket
    FROM seen
    GROUP BY agent_id
)
SELECT sums.*, p50_bucket, p95_bucket
FROM sums
LEFT JOIN quantiles USING (agent_id)
