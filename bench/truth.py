"""What must be true of a lake and of the frontend topic, whatever happened to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from agentmon.contracts.topics import FRONTEND
from agentmon.lake.connection import open_lake
from agentmon.live.client import client_config
from bench.home import Stack, wait

#: Figures of the rows, and the same from partials: keys, counts, and after them sums. The window is the default's, 60 s.
_FIGURES = (
    """
    SELECT floor(epoch(event_time) / 60)::BIGINT AS minute, agent_id, tool,
           count(*) FILTER (kind = 'actions'), count(*) FILTER (kind = 'thoughts'), count(*) FILTER (kind = 'learning'),
           count(success), count(*) FILTER (success), count(*) FILTER (error <> ''),
           count(reward) FILTER (kind = 'actions'), count(reward) FILTER (kind = 'learning'),
           coalesce(sum(reward) FILTER (kind = 'actions'), 0), coalesce(sum(reward) FILTER (kind = 'learning'), 0),
           coalesce(sum(duration_ms), 0)
    FROM (
        SELECT 'actions' AS kind, event_time, agent_id, tool, success, error, reward, duration_ms FROM actions
        UNION ALL BY NAME SELECT 'learning' AS kind, event_time, agent_id, tool, reward FROM learning
        UNION ALL BY NAME SELECT 'thoughts' AS kind, event_time, agent_id FROM thoughts
    ) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """,
    """
    SELECT floor(epoch(window_start) / 60)::BIGINT, agent_id, tool, sum(actions), sum(thoughts), sum(learning), sum(known),
           sum(successes), sum(errors), sum(action_reward_count), sum(learning_reward_count),
           sum(action_reward_sum), sum(learning_reward_sum), sum(duration_sum_ms)
    FROM summaries GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """,
    11,
)
_SESSIONS = (
    """
    SELECT agent_id, session_id, min(event_time), max(event_time),
           count(*) FILTER (kind = 'actions'), count(*) FILTER (kind = 'thoughts'), count(reward) FILTER (kind = 'learning'),
           coalesce(sum(reward) FILTER (kind = 'actions'), 0), coalesce(sum(reward) FILTER (kind = 'learning'), 0)
    FROM (
        SELECT 'actions' AS kind, event_time, agent_id, session_id, reward FROM actions
        UNION ALL BY NAME SELECT 'learning' AS kind, event_time, agent_id, session_id, reward FROM learning
        UNION ALL BY NAME SELECT 'thoughts' AS kind, event_time, agent_id, session_id FROM thoughts
    ) GROUP BY 1, 2 ORDER BY 1, 2
    """,
    """
    SELECT agent_id, session_id, min(first_event_time), max(last_event_time), sum(actions), sum(thoughts),
           sum(learning_reward_count), sum(action_reward_sum), sum(learning_reward_sum)
    FROM sessions GROUP BY 1, 2 ORDER BY 1, 2
    """,
    7,
)
_EVENTS = """
    SELECT agent_id, count(*) FROM (
        SELECT agent_id FROM actions UNION ALL SELECT agent_id FROM thoughts UNION ALL SELECT agent_id FROM learning
        UNION ALL SELECT agent_id FROM metrics UNION ALL SELECT agent_id FROM events
    ) GROUP BY 1
"""
_PATIENCE_S = 60.0


def check_figures(own: Stack) -> None:
    """Summaries and sessions are what the rows add up to. Raises AssertionError with the first group that differs."""
    with open_lake(own.settings.lake) as con:
        for rows, partials, exact in (_FIGURES, _SESSIONS):
            raw, summed = con.execute(rows).fetchall(), con.execute(partials).fetchall()
            assert len(raw) == len(summed), f"partials have {len(summed)} groups, rows have {len(raw)}"
            for one, other in zip(raw, summed, strict=True):
                assert one[:exact] == other[:exact], f"partials say {other}, rows say {one}"
                close = [abs(a - b) <= 1e-9 * max(1.0, abs(a)) for a, b in zip(one[exact:], other[exact:], strict=True)]
                assert all(close), f"partials say {other}, rows say {one}"


def check_last_figures(own: Stack) -> None:
    """The frontend topic ends with every agent's figures of all its events, however often the job was killed."""
    with open_lake(own.settings.lake) as con:
        stored = dict(con.execute(_EVENTS).fetchall())

    def newest() -> dict[str, int]:
        updates = (m["data"] for m in frontend(own) if m["type"] == "learning_update")
        return {data["agent_id"]: data["total_events"] for data in updates}

    try:
        wait(lambda: newest() == stored, _PATIENCE_S, "every agent's last figures", pause_s=2.0)
    except TimeoutError as error:
        published = newest()
        wrong = {name: (published.get(name), count) for name, count in stored.items() if published.get(name) != count}
        raise AssertionError(
            f"{len(wrong)} agents' last figures (published, stored): {dict([*wrong.items()][:5])}"
        ) from error


def check_frontend(own: Stack) -> dict[str, int]:
    """Every message on the frontend topic has an id, and messages with one id say the same."""
    said: dict[str, str] = {}
    messages = 0
    for message in frontend(own):
        told = json.dumps(_comparable(message["data"]), sort_keys=True)
        assert said.setdefault(message["id"], told) == told, (
            f"two messages with the id {message['id']}: {said[message['id']]} and {told}"
        )
        messages += 1
    return {"frontend_messages": messages, "sent_again": messages - len(said)}


def frontend(own: Stack) -> Iterator[dict[str, Any]]:
    """All messages of the frontend topic, in order."""
    consumer = KafkaConsumer(**client_config(own.settings), enable_auto_commit=False)
    place = TopicPartition(FRONTEND, 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    end = consumer.end_offsets([place])[place]
    while consumer.position(place) < end:
        for record in consumer.poll(2000).get(place, []):
            yield json.loads(record.value)
    consumer.close()


def _comparable(value: Any) -> Any:
    """Without what depends on when the job was started (rows that came late since), and on the order of additions."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [_comparable(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _comparable(entry) for name, entry in value.items() if name != "late"}
    return value
