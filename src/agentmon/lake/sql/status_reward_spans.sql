-- For each agent and kind of reward the time (since, until) within which its newest $kept rewards lie, where it has any.
-- A row has a reward at least, so that as many of the newest rows have as many of the newest rewards.
CREATE TEMP TABLE reward_spans AS
WITH kinds AS (
    SELECT agent_id, last_event_time, false AS learned, acted_in AS windows FROM partials
    UNION ALL
    SELECT agent_id, last_event_time, true AS learned, learned_in AS windows FROM partials
)
SELECT
    agent_id,
    learned,
    list_min(list_reverse_sort(flatten(list(windows)))[:$kept]) AS since,
    max(last_event_time) AS until
FROM kinds
WHERE windows IS NOT NULL
GROUP BY agent_id, learned
