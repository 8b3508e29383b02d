"""python -m bench.status: how long `agentmon status` and `--help` take, whole process, on lakes made without Spark.

10 M actions over 30 days (--actions), a tenth of that, and the same with 1,000 commits on the open day, not merged. And a
day of a commit a second, as the job leaves it (bench/day.py), with what one more commit takes there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from bench.day import DAY_S, commit_times, make_day
from bench.lake import make

_AGENTMON = Path(sys.executable).with_name("agentmon")
_RUNS = 9
#: Commits of an open day between two merges.
_COMMITS = 32


class Timed(NamedTuple):
    """Medians of a whole process, seconds; and the most memory that one took, MiB."""

    wall: float
    cpu: float
    peak: float


def timed(home: Path, *arguments: str) -> Timed:
    """Run a command of agentmon, after one run that warms the disk's cache."""
    wall, cpu, peak = [], [], 0.0
    for _ in range(_RUNS + 1):
        begun = time.perf_counter()
        process = subprocess.Popen(
            [_AGENTMON, *arguments], env={**os.environ, "AGENTMON_HOME": str(home)}, stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        wall.append(time.perf_counter() - begun)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        cpu.append(used.ru_utime + used.ru_stime)
        peak = max(peak, used.ru_maxrss / 1024)
    return Timed(statistics.median(wall[1:]), statistics.median(cpu[1:]), peak)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=10_000_000)
    parser.add_argument("--commits", type=int, default=1_000)
    parser.add_argument("--day", action="store_true", help="only the day of a commit a second")
    parser.add_argument("--keep", type=Path, help="where the lakes lie, or are made and kept")
    arguments = parser.parse_args()
    root = arguments.keep or Path(tempfile.mkdtemp(prefix="agentmon-bench-"))
    try:
        if arguments.day:
            _after_a_day(root)
            return 0
        say("agentmon --help, s", timed(root, "--help").wall, 0.25)
        small = _status(root, "a tenth", arguments.actions // 10)
        say(f"status on {arguments.actions // 10:,} actions, s", small.wall)
        large = _status(root, "all", arguments.actions)
        say(f"status on {arguments.actions:,} actions, s", large.wall, 0.6)
        say("the same, CPU s", large.cpu)
        say("ratio", large.wall / small.wall, 1.5)
        busy = _status(root, "commits", arguments.actions, arguments.commits, merged=False)
        say(f"status with {arguments.commits:,} commits on the open day, s", busy.wall, 1.0)
        say("the same, CPU s", busy.cpu)
        day = _after_a_day(root)
        say("peak memory, MiB", max(small.peak, large.peak, busy.peak, day.peak), 400)
    finally:
        if not arguments.keep:
            shutil.rmtree(root, ignore_errors=True)
    return 0


def _after_a_day(root: Path) -> Timed:
    """Status of a lake with a day's commits at 50/s, and what the next ones take."""
    home = root / "day"
    shutil.rmtree(home, ignore_errors=True)  # its log would be too old
    _in_own_process(make_day, home / "lake")
    day = timed(home, "status")
    say(f"status after {DAY_S:,} commits, s", day.wall, 0.6)
    say("the same, CPU s", day.cpu)
    for table in ("summaries", "sessions", "ledger"):
        took = sorted(_in_own_process(commit_times, home / "lake", table))
        say(f"a commit of {table} then: median, ms", 1000 * statistics.median(took), 35)
        say("the same with a checkpoint and the log cleaned: most, ms", 1000 * took[-1])
    return day


def _in_own_process(make_or_measure: Callable[..., Any], *arguments: Any) -> Any:
    """A process begins with the peak memory of the one that started it, so lakes are made by another."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(make_or_measure, *arguments).result()


def say(what: str, value: float, goal: float | None = None) -> None:
    print(f"{what:<55} {value:>14.2f}{'' if goal is None else f'   goal <= {goal:g}'}", flush=True)


def _status(root: Path, name: str, actions: int, commits: int = _COMMITS, *, merged: bool = True) -> Timed:
    home = root / name.replace(" ", "-")
    if not home.exists():
        _in_own_process(partial(make, home / "lake", actions, commits=commits, merged=merged))
    return timed(home, "status")


if __name__ == "__main__":
    sys.exit(main())
