"""`agentmon up` on a set-up machine: until Kafka takes a message, and until the first row is in Delta."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bench.events import events, send_all
from bench.home import Line, Stack, wait


def start(own: Stack) -> Iterator[Line]:
    """Starts the stack; the other parts go on with it."""
    begun = time.time()
    up = subprocess.Popen(
        [Path(sys.executable).with_name("agentmon"), "up"],
        env={**_python_path(), "PATH": os.environ["PATH"], "AGENTMON_HOME": str(own.settings.home)},
        stdout=subprocess.DEVNULL,
    )
    wait(lambda: _takes_messages(own), 60, "a broker that takes messages", pause_s=0.05)
    yield "start: broker takes messages, s", round(time.time() - begun, 1), "<= 4"
    send_all(own.bootstrap, events(10, start=time.time(), step_s=0.001, tag="-first"))
    yield "start: first row in Delta, s", round(own.wait_sealed(1) - begun, 1), "<= 15 (floor 20)"
    if up.wait() != 0:
        raise RuntimeError("agentmon up failed")


def _python_path() -> dict[str, str]:
    """Where a checkout that is not the installed one is measured."""
    return {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


def _takes_messages(own: Stack) -> bool:
    """Whether `up` has noted its broker, and that has the first topic."""
    try:
        own.adopt_broker()
        # log_level: that nobody listens yet is no news.
        admin = AdminClient({"bootstrap.servers": own.bootstrap, "log_level": 0})
        return "agent.actions" in admin.list_topics(timeout=1).topics
    except (OSError, KeyError, ValueError, KafkaException):
        return False
