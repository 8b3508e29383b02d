SELECT count(*) AS n FROM quarantine WHERE event_date >= $since::DATE AND event_time >= $since
