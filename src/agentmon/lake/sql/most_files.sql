-- The day with the most files, from Delta's log alone.
SELECT (partitions['event_date'])::DATE AS day, count(*) AS files
FROM delta_list_files($path)
WHERE (partitions['event_date']) <> ''
GROUP BY day
ORDER BY files DESC, day DESC
LIMIT 1
