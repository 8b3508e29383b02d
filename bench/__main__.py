"""make bench: every figure with its goal and floor, beside its peer, on the shipped settings; a table, and artifacts/bench.json.

python -m bench [--events N] [--seconds N] [--steady SECONDS] [--only PART …]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator

import psutil

from agentmon.settings import project_root
from bench import publish
from bench.home import Line, Stack, stack
from bench.latency import delays
from bench.quiet import first, quiet
from bench.start import start
from bench.steady import idle, steady
from bench.throughput import backlog

#: What can be asked for by itself; the half hour only with --steady.
_PARTS = ("start", "delays", "idle", "backlog", "first", "quiet", "steady", "publish")


def _parts(own: Stack, arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Iterator[Line]]]]:
    yield "start", lambda: start(own)
    yield "delays", lambda: delays(own, arguments.seconds)
    yield "idle", lambda: idle(own)
    yield "backlog", lambda: backlog(own, arguments.events)
    yield "first", lambda: first(own)
    if arguments.steady:
        yield "steady", lambda: steady(own, arguments.steady)
    # Here and not before: its hundred partitions stay.
    yield "quiet", lambda: quiet(own, arguments.seconds)
    # Last: what it sends is not of the shape that the bare peer trusts.
    yield "publish", lambda: publish.figures(own.bootstrap)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steady", type=float, default=0.0, help="seconds at 500 events/s (1800 for the full claim)")
    parser.add_argument(
        "--only", nargs="+", choices=_PARTS, metavar="PART", help=f"{', '.join(_PARTS)}; start comes always"
    )
    arguments = parser.parse_args()
    if "steady" in (arguments.only or ()) and not arguments.steady:
        parser.error("for how long? --only steady takes --steady SECONDS too")
    machine = f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()} {platform.machine()}"
    lines: list[Line] = []
    print(f"agentmon bench on {machine}", flush=True)
    with stack() as own:
        for name, part in _parts(own, arguments):
            # The stack is started by the first part, whatever else is asked for.
            if name != "start" and arguments.only and name not in arguments.only:
                continue
            for line in part():
                lines.append(line)
                print(f"{line[0]:<62} {line[1]!s:>16}   goal {line[2]}", flush=True)
    out = project_root() / "artifacts" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    told = {"machine": machine, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    out.write_text(json.dumps({**told, "figures": [{"name": n, "value": v, "goal": g} for n, v, g in lines]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
