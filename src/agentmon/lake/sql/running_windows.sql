-- Figures of the windows that are still open, per agent: each agent's own newest event less the watermark closes them.
SELECT
    s.agent_id,
    epoch_us(s.window_start) AS start_us,
    sum(s.actions + s.thoughts + s.learning + s.metrics + s.other + s.quarantined)::BIGINT AS events,
    sum(s.actions)::BIGINT AS actions,
    sum(s.thoughts)::BIGINT AS thoughts,
    sum(s.known)::BIGINT AS known,
    sum(s.successes)::BIGINT AS successes,
    sum(s.errors)::BIGINT AS errors,
    sum(s.action_reward_count + s.learning_reward_count)::BIGINT AS reward_count,
    coalesce(sum(s.action_reward_sum), 0) + coalesce(sum(s.learning_reward_sum), 0) AS reward_sum
FROM summaries AS s
JOIN running AS r ON r.agent_id = s.agent_id
WHERE
    s.event_date >= (to_timestamp($since_s) - to_microseconds($watermark_us + $window_us))::DATE
    AND epoch_us(s.window_end) - epoch_us(s.window_start) = $window_us
    AND epoch_us(s.window_end) > r.newest_us - $watermark_us
GROUP BY ALL
