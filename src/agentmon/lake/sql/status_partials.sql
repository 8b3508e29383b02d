-- What most figures are made of, added up as the files are read: an open day lies in many, of many rows.
-- Histograms and rewards are read by the figures that need them: nested columns are cheap to read, and dear to keep.
-- acted_lately, learned_lately: rewards of windows since $lately.
CREATE TEMP TABLE partials AS
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
    min(window_start) AS first_window_start,
    sum(action_reward_count) FILTER (window_start >= $lately)::BIGINT AS acted_lately,
    sum(learning_reward_count) FILTER (window_start >= $lately)::BIGINT AS learned_lately
FROM summaries
WHERE agent_id IS DISTINCT FROM $left_out
GROUP BY agent_id, tool
