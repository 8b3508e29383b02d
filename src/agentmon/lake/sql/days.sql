-- The days that a table has files for: from Delta's log alone, no file is opened.
SELECT DISTINCT (partitions['event_date'])::DATE AS day
FROM delta_list_files($path)
WHERE (partitions['event_date']) <> ''
ORDER BY day DESC
