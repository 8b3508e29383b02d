-- Rows of one batch → additive partial figures per session (contracts/tables.py: SESSIONS).
-- Rows without a session_id are kept apart by time, so that no partial spans a silence that ends a session.
SELECT
    agent_id,
    session_id,
    min(event_time) AS first_event_time,
    max(event_time) AS last_event_time,
    count(*) FILTER ("table" = 'actions') AS actions,
    count(*) FILTER ("table" = 'thoughts') AS thoughts,
    count(*) FILTER ("table" = 'actions' AND error <> '') AS errors,
    coalesce(sum(reward) FILTER ("table" = 'actions'), 0) AS action_reward_sum,
    count(reward) FILTER ("table" = 'learning') AS learning_reward_count,
    coalesce(sum(reward) FILTER ("table" = 'learning'), 0) AS learning_reward_sum,
    min(event_time) FILTER ("table" = 'learning' AND session_id IS NOT NULL AND reward IS NOT NULL) AS ended_at,
    min(event_time)::DATE AS event_date
FROM batch
WHERE "table" <> 'quarantine'
GROUP BY agent_id, session_id, CASE WHEN session_id IS NULL THEN epoch_us(event_time) // $step_us END
