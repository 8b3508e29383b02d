-- What status needs of the days from {open} on. They are being written, in many small files: each is opened once,
-- and added up at once, as keeping all its rows takes longer than reading them. Of rewards, the rows with the newest:
-- no other can hold one of the newest.
CREATE TEMP TABLE open_partials AS
SELECT
    agent_id, tool, event_date,
    sum(actions)::BIGINT AS actions, sum(thoughts)::BIGINT AS thoughts, sum(learning)::BIGINT AS learning,
    sum(metrics)::BIGINT AS metrics, sum(other)::BIGINT AS other, sum(quarantined)::BIGINT AS quarantined,
    sum(known)::BIGINT AS known, sum(successes)::BIGINT AS successes, sum(errors)::BIGINT AS errors,
    sum(action_reward_count)::BIGINT AS action_reward_count, fsum(action_reward_sum) AS action_reward_sum,
    sum(learning_reward_count)::BIGINT AS learning_reward_count, fsum(learning_reward_sum) AS learning_reward_sum,
    max(last_event_time) AS last_event_time,
    arg_max(last_memory_bytes, last_memory_bytes.event_time) AS last_memory_bytes,
    arg_max(last_cpu_percent, last_cpu_percent.event_time) AS last_cpu_percent,
    flatten(list(map_keys(duration_buckets))) AS buckets,
    flatten(list(map_values(duration_buckets))) AS bucket_counts,
    flatten(max_by(
        recent_action_rewards,
        row(recent_action_rewards[-1].event_time, recent_action_rewards[-1].kafka_partition, recent_action_rewards[-1].kafka_offset),
        {kept}
    ) FILTER (len(recent_action_rewards) > 0)) AS recent_action_rewards,
    flatten(max_by(
        recent_learning_rewards,
        row(recent_learning_rewards[-1].event_time, recent_learning_rewards[-1].kafka_partition, recent_learning_rewards[-1].kafka_offset),
        {kept}
    ) FILTER (len(recent_learning_rewards) > 0)) AS recent_learning_rewards
FROM summaries
WHERE agent_id IS DISTINCT FROM '{left_out}' AND event_date >= DATE '{open}'
GROUP BY agent_id, tool, event_date;

-- And of all days: those before have a file or two each, and are read column by column, as each figure needs.
CREATE TEMP VIEW every_partial AS
SELECT
    agent_id, tool, event_date,
    actions, thoughts, learning, metrics, other, quarantined,
    known, successes, errors,
    action_reward_count, action_reward_sum, learning_reward_count, learning_reward_sum,
    last_event_time, last_memory_bytes, last_cpu_percent,
    map_keys(duration_buckets) AS buckets, map_values(duration_buckets) AS bucket_counts,
    recent_action_rewards, recent_learning_rewards
FROM summaries
WHERE agent_id IS DISTINCT FROM '{left_out}' AND event_date < DATE '{open}'
UNION ALL
FROM open_partials;

-- The columns that most figures are made of, once.
CREATE TEMP TABLE partials AS
SELECT * EXCLUDE (buckets, bucket_counts, recent_action_rewards, recent_learning_rewards) FROM every_partial
