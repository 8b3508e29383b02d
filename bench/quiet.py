"""How late figures are where little happens: in a topic of many silent partitions, and after minutes of silence.

Spark's Kafka reader waits at the end of a partition that has nothing more; such a topic shows whether the job does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from confluent_kafka.admin import AdminClient, NewTopic

from bench.events import producer
from bench.follow import Follower, quantile
from bench.home import Line, Stack, wait
from bench.steady import batch_ms

_TOPICS = {"agent.quiet-six": 6, "agent.quiet-hundred": 100}
#: Between two messages, seconds: not the job's second, or all would come at the same moment of a batch.
_STEP_S = 1.0618
_SILENCE_S = 300.0


def quiet(own: Stack, seconds: float) -> Iterator[Line]:
    """A message a second in one partition of a topic, nothing in the others nor in any other topic."""
    for topic, partitions in _TOPICS.items():
        _make(own, topic, partitions)
        _send_each(own, topic, 3, "warm")
        late, batches = _send_each(own, topic, round(seconds / _STEP_S), f"at-{partitions}")
        name = f"{partitions} quiet partitions"
        yield f"{name}: batch time p50 and p95, ms", [round(quantile(batches, q)) for q in (0.5, 0.95)], "-"
        yield f"{name}: figures p50, s", round(quantile(late, 0.5), 2), "<= 0.8"
        yield f"{name}: figures p95, s", round(quantile(late, 0.95), 2), "<= 1.4 (floor 1.8)"


def first(own: Stack) -> Iterator[Line]:
    """The first event after five minutes without one."""
    _send_each(own, "agent.actions", 3, "before")
    time.sleep(_SILENCE_S)
    late, _ = _send_each(own, "agent.actions", 1, "first")
    yield f"first event after {_SILENCE_S:.0f} s of silence: figures, s", round(late[0], 2), "<= 2.5"


def _send_each(own: Stack, topic: str, count: int, tag: str) -> tuple[list[float], list[float]]:
    """Messages one by one, each of an agent of its own: how late the figures of each are; the times of batches, ms."""
    sent: dict[str, float] = {}
    batches: list[float] = []
    out = producer(own.bootstrap)
    with Follower(own) as follower:
        for number in range(count):
            agent = f"quiet-{tag}-{number}-{time.time():.0f}"
            sent[agent] = time.time()
            event = {"tool": "grep", "reward": 1.0, "agent_id": agent, "timestamp": sent[agent]}
            out.produce(topic, json.dumps(event).encode(), partition=0)
            out.flush(30)
            time.sleep(max(0.0, sent[agent] + _STEP_S - time.time()))
            batches += batch_ms(own)
        follower.wait_for({*sent}, 60)
        return [follower.updates[agent][0].at - at for agent, at in sent.items()], batches


def _make(own: Stack, topic: str, partitions: int) -> None:
    """Make a topic, and wait until the job reads it: it looks for new ones now and then."""
    admin = AdminClient({"bootstrap.servers": own.bootstrap})
    if topic not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)
    before = own.sealed()
    out = producer(own.bootstrap)
    # One in each: Spark's reader then knows all of them.
    for partition in range(partitions):
        out.produce(topic, b'{"agent_id": "quiet-made"}', partition=partition)
    out.flush(30)
    wait(lambda: own.sealed() >= before + partitions, 120, f"{topic} in the lake", pause_s=1.0)
