-- The first of a table's days that still lies in many files: days are written one after the other, then closed.
-- From Delta's log alone.
SELECT min(day) FROM (
    SELECT (partitions['event_date'])::DATE AS day
    FROM delta_list_files($path)
    WHERE (partitions['event_date']) <> ''
    GROUP BY day
    HAVING count(*) > $few
)
