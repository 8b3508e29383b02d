-- Figures of every agent, or of those in $only, over all that the lake has of it; wanted: those, or heard of since then.
-- Heard of: by the job's clock, not by the events' own, or a recording of last year would never have figures.
WITH recent AS (
    SELECT DISTINCT query_id, batch_id FROM ledger WHERE kind = 'stored' AND committed_at >= to_timestamp($since_s)
)
SELECT
    agent_id,
    sum(actions + thoughts + learning + metrics + other + quarantined)::BIGINT AS events,
    sum(actions)::BIGINT AS actions,
    sum(known)::BIGINT AS known,
    sum(successes)::BIGINT AS successes,
    sum(action_reward_count)::BIGINT AS action_reward_count,
    coalesce(sum(action_reward_sum), 0) AS action_reward_sum,
    sum(learning_reward_count)::BIGINT AS learning_reward_count,
    coalesce(sum(learning_reward_sum), 0) AS learning_reward_sum,
    epoch_us(max(last_event_time)) AS newest_us,
    $only::VARCHAR[] IS NOT NULL
    OR bool_or(recent.batch_id IS NOT NULL)
    OR max(last_event_time) >= to_timestamp($since_s) AS wanted
FROM summaries
LEFT JOIN recent USING (query_id, batch_id)
WHERE $only::VARCHAR[] IS NULL OR list_contains($only::VARCHAR[], agent_id)
GROUP BY agent_id
