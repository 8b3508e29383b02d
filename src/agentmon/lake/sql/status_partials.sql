-- What status needs of the days from {open} on: they are being written, in many small files, each opened once.
CREATE TEMP TABLE open_partials AS
SELECT
    agent_id, tool,
    actions, thoughts, learning, metrics, other, quarantined,
    known, successes, errors,
    action_reward_count, action_reward_sum, learning_reward_count, learning_reward_sum,
    duration_buckets, last_event_time,
    recent_action_rewards, recent_learning_rewards, last_memory_bytes, last_cpu_percent,
    event_date
FROM summaries
WHERE agent_id IS DISTINCT FROM '{left_out}' AND event_date >= DATE '{open}';

-- And of all days: those before have a file or two each, and are read column by column, as each figure needs.
CREATE TEMP VIEW every_partial AS
SELECT
    agent_id, tool,
    actions, thoughts, learning, metrics, other, quarantined,
    known, successes, errors,
    action_reward_count, action_reward_sum, learning_reward_count, learning_reward_sum,
    duration_buckets, last_event_time,
    recent_action_rewards, recent_learning_rewards, last_memory_bytes, last_cpu_percent,
    event_date
FROM summaries
WHERE agent_id IS DISTINCT FROM '{left_out}' AND event_date < DATE '{open}'
UNION ALL
FROM open_partials;

-- The columns that most figures are made of, once.
CREATE TEMP TABLE partials AS
SELECT * EXCLUDE (duration_buckets, recent_action_rewards, recent_learning_rewards) FROM every_partial
