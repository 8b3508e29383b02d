-- Rows of one batch → additive partial figures per window, agent and tool (contracts/tables.py: SUMMARIES).
-- Hostile counts of tokens may add up to more than a BIGINT holds, either way: then its largest or least stands.
WITH keyed AS (
    SELECT
        * EXCLUDE (tool),
        epoch_us(event_time) // $window_us * $window_us
            - CASE WHEN epoch_us(event_time) % $window_us < 0 THEN $window_us ELSE 0 END AS window_us,
        CASE WHEN "table" IN ('actions', 'learning') THEN tool END AS tool,
        "table" = 'actions' AS acted,
        "table" = 'learning' AS learned,
        {'reward': reward, 'event_time': event_time, 'kafka_partition': kafka_partition, 'kafka_offset': kafka_offset} AS rewarded,
        {'event_time': event_time, 'kafka_partition': kafka_partition, 'kafka_offset': kafka_offset} AS place,
        CASE
            WHEN duration_ms > 0 THEN ceil(ln(duration_ms) / $ln_gamma)::INT
            WHEN duration_ms IS NOT NULL THEN $zero_bucket
        END AS bucket
    FROM batch
)
SELECT
    make_timestamptz(window_us) AS window_start,
    make_timestamptz(window_us + $window_us) AS window_end,
    agent_id,
    tool,
    count(*) FILTER (acted) AS actions,
    count(*) FILTER ("table" = 'thoughts') AS thoughts,
    count(*) FILTER (learned) AS learning,
    count(*) FILTER ("table" = 'metrics') AS metrics,
    count(*) FILTER ("table" = 'events') AS other,
    count(*) FILTER ("table" = 'quarantine') AS quarantined,
    count(success) FILTER (acted) AS known,
    count(*) FILTER (acted AND success) AS successes,
    count(*) FILTER (acted AND error <> '') AS errors,
    count(reward) FILTER (acted) AS action_reward_count,
    coalesce(sum(reward) FILTER (acted), 0) AS action_reward_sum,
    min(reward) FILTER (acted) AS action_reward_min,
    max(reward) FILTER (acted) AS action_reward_max,
    count(reward) FILTER (learned) AS learning_reward_count,
    coalesce(sum(reward) FILTER (learned), 0) AS learning_reward_sum,
    min(reward) FILTER (learned) AS learning_reward_min,
    max(reward) FILTER (learned) AS learning_reward_max,
    count(duration_ms) FILTER (acted) AS duration_count,
    coalesce(sum(duration_ms) FILTER (acted), 0) AS duration_sum_ms,
    coalesce(histogram(bucket) FILTER (acted AND bucket IS NOT NULL), MAP {}) AS duration_buckets,
    greatest(-9223372036854775808, least(9223372036854775807, coalesce(sum(input_tokens) FILTER (acted), 0)))::BIGINT AS input_tokens,
    greatest(-9223372036854775808, least(9223372036854775807, coalesce(sum(output_tokens) FILTER (acted), 0)))::BIGINT AS output_tokens,
    sum(cost_usd) FILTER (acted) AS cost_usd,
    min(event_time) AS first_event_time,
    max(event_time) AS last_event_time,
    coalesce(list_reverse(arg_max(rewarded, place, $recent) FILTER (acted AND reward IS NOT NULL)), []) AS recent_action_rewards,
    coalesce(list_reverse(arg_max(rewarded, place, $recent) FILTER (learned AND reward IS NOT NULL)), []) AS recent_learning_rewards,
    arg_max({'value': metrics['memory_bytes'], 'event_time': event_time}, place)
        FILTER ("table" = 'metrics' AND metrics['memory_bytes'] IS NOT NULL) AS last_memory_bytes,
    arg_max({'value': metrics['cpu_percent'], 'event_time': event_time}, place)
        FILTER ("table" = 'metrics' AND metrics['cpu_percent'] IS NOT NULL) AS last_cpu_percent,
    make_timestamptz(window_us)::DATE AS event_date
FROM keyed
GROUP BY window_us, agent_id, tool
