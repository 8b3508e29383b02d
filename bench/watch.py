"""python -m bench.watch: from publishing a thought until `agentmon watch` has written it to its terminal.

A broker of the bench's own, the real command on a pseudo-terminal of 120x40; the texts are read from its output.
--rate: further events a second beside them.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import statistics
import struct
import sys
import termios
import threading
import time
from pathlib import Path

from kafka import KafkaProducer

from agentmon.live.client import client_config
from bench.home import stack

_AGENTMON = Path(sys.executable).with_name("agentmon")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.0)
    arguments = parser.parse_args()
    with stack() as own:
        own.start_broker()
        pid, screen = pty.fork()
        if pid == 0:
            env = {**os.environ, "AGENTMON_HOME": str(own.settings.home), "KAFKA_BOOTSTRAP_SERVERS": own.bootstrap,
                   "TERM": "xterm-256color"}  # fmt: skip
            os.execve(_AGENTMON, [str(_AGENTMON), "watch"], env)
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        producer = KafkaProducer(**client_config(own.settings), linger_ms=0)
        ending = threading.Event()
        try:
            _until(screen, "live")
            if arguments.rate:
                threading.Thread(target=_load, args=(producer, arguments.rate, ending), daemon=True).start()
                _until(screen, "tool-25")
            took = []
            for number in range(arguments.samples):
                token = f"token{number:05d}"
                thought = {"thought": token, "agent_id": "b", "timestamp": time.time()}
                sent = time.perf_counter()
                producer.send("agent.thoughts", json.dumps(thought).encode())
                _until(screen, token)
                took.append(time.perf_counter() - sent)
                time.sleep(0.03 + 0.05 * (number % 7) / 7)
        finally:
            ending.set()
            os.close(screen)  # hangs up: the command ends, whatever it was writing
            os.waitpid(pid, 0)
            producer.close()
    ordered = sorted(took)
    beside = f" beside {arguments.rate:g} events/s" if arguments.rate else ""
    print(
        f"on the screen after{beside}: p50 {statistics.median(took):.3f} s, p95 {ordered[int(0.95 * len(ordered))]:.3f} s"
    )
    return 0


def _until(screen: int, text: str, seconds: float = 30.0) -> None:
    """Read what the command writes until it has a text."""
    seen, end = "", time.monotonic() + seconds
    while text not in seen:
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {text} in {seen[-2_000:]!r}")
        if select.select([screen], [], [], 0.5)[0]:
            seen = (seen + re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(screen, 65_536).decode(errors="replace")))[
                -8_000:
            ]


def _load(producer: KafkaProducer, rate: float, ending: threading.Event) -> None:
    begun, number = time.perf_counter(), 0
    while not ending.is_set():
        action = {"tool": f"tool-{number % 26}", "reward": 1.0, "duration_ms": 12.5, "context": {"call": number},
                  "agent_id": f"agent-{number % 20}", "reasoning": "why " * 60, "timestamp": time.time()}  # fmt: skip
        producer.send("agent.actions", json.dumps(action).encode())
        number += 1
        time.sleep(max(0.0, begun + number / rate - time.perf_counter()))


if __name__ == "__main__":
    sys.exit(main())
