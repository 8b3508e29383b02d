"""Break things while events flow, then let `agentmon audit` say whether anything was lost or doubled.

    python -m bench.faults [--events N] [--kills N] [--broker-kills N] [--seed N] [--seconds S]

Killed with -9, in turns: the driver's Python process between two tables' writes of one batch (it is held when a new
commit of `actions` shows in its log), a Python worker of its tasks, its JVM, the daemon that starts those workers; all but
the first, and the broker, at random moments. A killed worker or daemon may cost a task that is tried again, not the query.
In the end the lake must have exactly what was sent, its figures must be those of its rows, and the frontend topic must have
every agent's last figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any

from agentmon.lake.ledger import has_batch
from agentmon.settings import project_root
from agentmon.stream.resume import unsealed_batch
from bench.events import events, send_all
from bench.home import Stack, stack, wait
from bench.processes import find_job
from bench.truth import check_figures, check_frontend, check_last_figures

_SLICES = 100
#: What is killed, turn after turn.
_TURNS = ("driver", "worker", "jvm", "daemon")
#: What a task is tried again after; the rest ends the job.
_REPLACED = ("worker", "daemon")
#: How the job's log says that a query was.
_STARTED_AGAIN = "started again"


@dataclass(frozen=True)
class Plan:
    events: int = 200_000
    kills: int = 12
    broker_kills: int = 2
    seed: int = 1
    seconds: float = 240.0  # over which the events flow


def run(plan: Plan, own: Stack) -> dict[str, Any]:
    """Everything that went wrong on purpose, and what came of it. Raises AssertionError with the first falsehood."""
    chance = random.Random(plan.seed)
    own.start_broker()
    allowed = Semaphore(0)
    with ThreadPoolExecutor(1) as flow:
        sent = flow.submit(_flow, own, plan, allowed)
        try:
            own.start_job()
            killed = _break(own, plan, chance, allowed)
        finally:
            allowed.release(_SLICES)
        assert sent.result() == plan.events
    own.wait_sealed(plan.events)
    told = audit(own)
    assert (told["in_kafka"], told["stored"], told["pending"]) == (plan.events, plan.events, 0), told
    check_figures(own)
    check_last_figures(own)
    return {
        **killed,
        "broker_killed": plan.broker_kills,
        **told,
        **check_frontend(own),
    }


def _break(own: Stack, plan: Plan, chance: random.Random, allowed: Semaphore) -> dict[str, int]:
    """Kill what is to be killed: how many of each, and how many batches were left in some of their tables only."""
    turns = [_TURNS[number % len(_TURNS)] for number in range(plan.kills)]
    # A broker that is away may well have the query started again, which a worker must not.
    broker_turns = set(chance.sample([n for n, what in enumerate(turns) if what not in _REPLACED], plan.broker_kills))
    lake = own.settings.lake
    half_done = 0
    for turn, what in enumerate(turns):
        allowed.release(_SLICES // (plan.kills + 1))  # so that events flow at every turn, however long it takes
        if turn in broker_turns:
            own.kill_broker()
            time.sleep(chance.uniform(0.5, 3))
            own.start_broker()
        if what != "driver" or not _hold_between_tables(own):
            time.sleep(chance.uniform(0.5, 8))
        if what in _REPLACED:
            _kill_replaced(own, what, chance)
            continue
        own.kill_job(driver=what == "driver")  # the driver is who commits
        own.job.end_remains()
        half_done += unsealed_batch(lake, partial(has_batch, lake)) is not None
        own.start_job()
    return {**{f"{what}_killed": turns.count(what) for what in _TURNS}, "between_tables": half_done}


def _kill_replaced(own: Stack, what: str, chance: random.Random) -> None:
    """kill -9 of a worker or daemon. Raises AssertionError unless the job goes on as it is, its query not started again."""
    wait(lambda: bool(_pids(own, what)), 60, f"a Python {what}", pause_s=0.02)
    jvm, driver, restarts, sealed = own.job.process(), own.job.driver(), _restarts(own), own.sealed()
    wait(lambda: _killed(_pids(own, what), chance), 60, f"a Python {what}", pause_s=0.02)
    wait(lambda: own.sealed() > sealed, 60, f"a batch after a {what} was killed")
    time.sleep(3)  # that may have been a batch without it
    assert (own.job.process(), own.job.driver()) == (jvm, driver), f"a killed {what} ended the job"
    assert _restarts(own) == restarts, f"a killed {what} had the query started again: {own.job.log}"


def _pids(own: Stack, what: str) -> tuple[int, ...]:
    job = find_job(own)
    return () if job is None else {"worker": job.workers, "daemon": job.daemons}[what]


def _killed(pids: tuple[int, ...], chance: random.Random) -> bool:
    """Whether one of them could be killed: it may just have ended."""
    try:
        os.kill(chance.choice(pids), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        return False
    return True


def _restarts(own: Stack) -> int:
    return own.job.log.read_text(errors="replace").count(_STARTED_AGAIN)


def _flow(own: Stack, plan: Plan, allowed: Semaphore) -> int:
    """Send the events in slices, each when it is allowed; how many."""
    sent = 0
    for number in range(_SLICES):
        allowed.acquire()
        count = plan.events // _SLICES if number < _SLICES - 1 else plan.events - sent
        # Idempotent within a slice; the producer outlives a broker that is away for a moment.
        sent += send_all(own.bootstrap, events(count, start=time.time(), step_s=0.001, tag=f"-{number}"))
        time.sleep(plan.seconds / _SLICES)
    return sent


def _hold_between_tables(own: Stack) -> bool:
    """Stop (SIGSTOP) the driver while a batch is in some of its tables only; False if that did not succeed."""
    lake = own.settings.lake
    for _ in range(20):
        driver = own.job.driver()
        if driver is None or not _wait_for_commit(own, "actions"):
            return False
        driver.suspend()
        if unsealed_batch(lake, partial(has_batch, lake)) is not None:
            return True
        driver.resume()
    return False


def _wait_for_commit(own: Stack, table: str) -> bool:
    """Wait until a table's log has one more commit; False if that takes too long."""
    log = Path(own.settings.lake) / table / "_delta_log"
    before = len(list(log.glob("*.json")))
    try:
        wait(lambda: len(list(log.glob("*.json"))) > before, 60, "a commit", pause_s=0.002)
    except TimeoutError:
        return False
    return True


def audit(own: Stack) -> dict[str, Any]:
    """What `agentmon audit` counts, over all topics. Raises AssertionError unless it is content."""
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "agentmon"), "audit", "--json"],
        capture_output=True, text=True, check=False, cwd=project_root(),
        env={"PATH": "/usr/bin:/bin", "AGENTMON_HOME": str(own.settings.home)},
    )  # fmt: skip
    assert ran.returncode == 0, f"audit says {ran.returncode}: {ran.stderr}{ran.stdout[:2000]}"
    rows = json.loads(ran.stdout)
    return {name: sum(row[name] for row in rows) for name in ("in_kafka", "stored", "holes", "repeats", "pending")}


def main() -> int:
    default = Plan()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("events", "kills", "broker_kills", "seed"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(default, name))
    parser.add_argument("--seconds", type=float, default=default.seconds)
    plan = Plan(**vars(parser.parse_args()))
    with stack() as own:
        told = run(plan, own)
    print(json.dumps({"events": plan.events, **told}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
