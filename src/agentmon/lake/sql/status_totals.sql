SELECT
    coalesce(sum(actions), 0)::BIGINT AS actions,
    coalesce(sum(thoughts), 0)::BIGINT AS thoughts,
    coalesce(sum(learning), 0)::BIGINT AS learning,
    coalesce(sum(metrics), 0)::BIGINT AS metrics,
    coalesce(sum(other), 0)::BIGINT AS other,
    coalesce(sum(quarantined), 0)::BIGINT AS quarantined,
    sum(successes) / nullif(sum(known), 0) AS success_rate,
    -- What agents learned counts, where there is any of it; else what their actions brought.
    coalesce(
        fsum(learning_reward_sum) / nullif(sum(learning_reward_count), 0),
        fsum(action_reward_sum) / nullif(sum(action_reward_count), 0)
    ) AS avg_reward,
    max(last_event_time) AS last_event_time
FROM partials
