"""python -m bench.status: how long `agentmon status` and `--help` take, whole process, on lakes made without Spark.

10 M actions over 30 days (--actions), a tenth of that, and the same with 1,000 commits on the open day.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.lake import make

_AGENTMON = Path(sys.executable).with_name("agentmon")
_RUNS = 9


def timed(home: Path, *arguments: str) -> float:
    """Median of the whole process, seconds, after one run that warms the disk's cache."""
    took = []
    for _ in range(_RUNS + 1):
        begun = time.perf_counter()
        subprocess.run(
            [_AGENTMON, *arguments],
            env={**os.environ, "AGENTMON_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        took.append(time.perf_counter() - begun)
    return statistics.median(took[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=10_000_000)
    parser.add_argument("--commits", type=int, default=1_000)
    parser.add_argument("--keep", type=Path, help="where the lakes lie, or are made and kept")
    arguments = parser.parse_args()
    root = arguments.keep or Path(tempfile.mkdtemp(prefix="agentmon-bench-"))
    try:
        print(f"{'agentmon --help, s':<55} {timed(root, '--help'):>14.2f}   goal <= 0.25", flush=True)
        small = _status(root, "a tenth", arguments.actions // 10, 1)
        print(f"{f'status on {arguments.actions // 10:,} actions, s':<55} {small:>14.2f}", flush=True)
        large = _status(root, "all", arguments.actions, 1)
        print(f"{f'status on {arguments.actions:,} actions, s':<55} {large:>14.2f}   goal <= 0.6", flush=True)
        print(f"{'ratio':<55} {large / small:>14.2f}   goal <= 1.5", flush=True)
        _say_memory("peak memory so far, MiB")
        busy = _status(root, "commits", arguments.actions, arguments.commits)
        print(
            f"{f'status with {arguments.commits:,} commits on the open day, s':<55} {busy:>14.2f}   goal <= 1.0",
            flush=True,
        )
        _say_memory("peak memory of all, MiB")
    finally:
        if not arguments.keep:
            shutil.rmtree(root, ignore_errors=True)
    return 0


def _status(root: Path, name: str, actions: int, commits: int) -> float:
    home = root / name.replace(" ", "-")
    if not home.exists():
        make(home / "lake", actions, commits=commits)
    return timed(home, "status")


def _say_memory(what: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{what:<55} {peak:>14.0f}   goal <= 400", flush=True)


if __name__ == "__main__":
    sys.exit(main())
