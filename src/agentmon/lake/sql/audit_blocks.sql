-- Offsets in blocks of 65,536: how many rows, how many different offsets, and, only where these are not one
-- unbroken run, which ones (a digit an offset). The bitmap is exact whatever the rows' order.
CREATE TEMP TABLE audit_blocks AS
SELECT
    * EXCLUDE (bits),
    bit_count(bits) AS different,
    CASE WHEN bit_count(bits) < highest - lowest + 1 THEN bits::VARCHAR END AS digits
FROM (
    SELECT
        topic_id,
        "partition",
        "offset" >> 16 AS block,
        sealed,
        any_value(topic) AS topic,
        count(*) AS rows,
        count(*) FILTER (quarantined) AS quarantined,
        min("offset") AS lowest,
        max("offset") AS highest,
        bitstring_agg("offset" & 65535, 0, 65535) AS bits
    FROM audit_offsets
    WHERE topic_id IS NOT NULL
    GROUP BY topic_id, "partition", block, sealed
)
