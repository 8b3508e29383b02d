-- The first moment of each part of so many rows of a listing, newest first; of a moment all rows are in one part.
SELECT DISTINCT event_time
FROM (
    SELECT event_time, row_number() OVER (ORDER BY event_time DESC) AS number
    {rows}
)
WHERE number % $limit = 0
ORDER BY event_time DESC
