-- Histograms of durations in the windows that are still open, per agent.
WITH open_windows AS (
    SELECT s.agent_id, epoch_us(s.window_start) AS start_us, unnest(map_entries(s.duration_buckets)) AS e
    FROM summaries AS s
    JOIN running AS r ON r.agent_id = s.agent_id
    WHERE
        s.event_date >= (to_timestamp($since_s) - to_microseconds($watermark_us + $window_us))::DATE
        AND epoch_us(s.window_end) - epoch_us(s.window_start) = $window_us
        AND epoch_us(s.window_end) > r.newest_us - $watermark_us
)
SELECT agent_id, start_us, e.key AS bucket, sum(e.value)::BIGINT AS n
FROM open_windows
GROUP BY agent_id, start_us, e.key
