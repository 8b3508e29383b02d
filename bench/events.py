"""Events like the recording's, as many as wanted: other agents, sessions, times and texts, the same size and mix."""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from agentmon.settings import project_root

#: One event: topic, key, value.
Event = tuple[str, bytes, bytes]

_RECORDING = project_root() / "data" / "tau-airline-events.jsonl.gz"
_COPIES_OF_AGENTS = 12


def recording() -> list[dict[str, Any]]:
    """The recording's events: {"topic", "key", "value"}."""
    with gzip.open(_RECORDING, "rt") as lines:
        return [json.loads(line) for line in lines]


def events(count: int, *, start: float, step_s: float, tag: str = "") -> Iterator[Event]:
    """`count` events, `step_s` seconds apart from `start` (epoch seconds) on; texts are all distinct."""
    originals = recording()
    for number in range(count):
        turn, index = divmod(number, len(originals))
        original = originals[index]
        value = dict(original["value"])
        value["timestamp" if "timestamp" in value else "ts"] = start + number * step_s
        value["agent_id"] = f"{value['agent_id']}{tag}-{turn % _COPIES_OF_AGENTS}"
        value["session_id"] = f"{value['session_id']}{tag}-{turn}"
        if "thought" in value:
            value["thought"] = f"{number} {value['thought']}"
        elif "context" in value:
            value["context"] = {**value["context"], "call": number}
        yield original["topic"], value["agent_id"].encode(), json.dumps(value).encode()


def producer(bootstrap: str) -> Producer:
    """A producer that is never the bottleneck."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 5,
            "batch.size": 500_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
            "enable.idempotence": True,
            "log_level": 0,  # a broker that is killed on purpose is no news
        }
    )


def send_all(bootstrap: str, wanted: Iterator[Event]) -> int:
    """Send everything as fast as Kafka takes it, and wait until it has it; how many."""
    out = producer(bootstrap)
    sent = 0
    for topic, key, value in wanted:
        while True:
            try:
                out.produce(topic, value, key)
                break
            except BufferError:
                out.poll(0.1)
        sent += 1
    left = out.flush(120)
    if left:
        raise RuntimeError(f"{left} of {sent} messages were not acknowledged")
    return sent


def send_paced(bootstrap: str, rate: float, seconds: float, tag: str) -> None:
    """Send `rate` events a second, each with the moment of its sending as its time."""
    out = producer(bootstrap)
    begun = time.time()
    count = round(rate * seconds)
    for number, (topic, key, value) in enumerate(events(count, start=begun, step_s=1 / rate, tag=tag)):
        wait = begun + number / rate - time.time()
        if wait > 0:
            out.poll(0)
            time.sleep(wait)
        out.produce(topic, value, key)
    out.flush(30)


def write_file(path: Path, count: int, **how: Any) -> None:
    """The same events as a recording file, for `agentmon load`."""
    with gzip.open(path, "wt", compresslevel=1) as out:
        for topic, key, value in events(count, **how):
            out.write(json.dumps({"topic": topic, "key": key.decode(), "value": json.loads(value)}) + "\n")


if __name__ == "__main__":  # python -m bench.events BOOTSTRAP RATE SECONDS TAG: a process of its own beside the job
    send_paced(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
