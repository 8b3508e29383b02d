-- Offsets that more than one row has, as ranges; only blocks with more rows than offsets are looked at again.
WITH repeated AS (
    SELECT topic_id, "partition", "offset"
    FROM audit_offsets
    WHERE sealed AND (topic_id, "partition", "offset" >> 16) IN (
        SELECT (topic_id, "partition", block) FROM audit_blocks WHERE sealed AND rows > different
    )
    GROUP BY ALL
    HAVING count(*) > 1
), runs AS (
    SELECT *, "offset" - row_number() OVER (PARTITION BY topic_id, "partition" ORDER BY "offset") AS run
    FROM repeated
)
SELECT topic_id, "partition", min("offset") AS start_offset, max("offset") + 1 AS end_offset
FROM runs
GROUP BY topic_id, "partition", run
ORDER BY ALL
