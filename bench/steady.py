"""What the job costs while nothing arrives, and whether anything grows while it runs for long."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread

from deltalake import DeltaTable

from agentmon.contracts.tables import TABLES
from bench.home import Line, Stack
from bench.latency import send
from bench.processes import Meter, find_job, pss

_GIB = 2**30


def idle(own: Stack, seconds: float = 30.0) -> Iterator[Line]:
    """What the job costs while nothing arrives."""
    time.sleep(10)
    with Meter(own) as meter:
        time.sleep(seconds)
    used = meter.between()
    yield "idle: cores", round((used.tasks + used.driver) / used.at, 2), "<= 0.1"
    yield "idle: memory of all the job's processes, PSS, GiB", round(used.memory / _GIB, 2), "-"


def steady(own: Stack, seconds: float, rate: float = 500.0) -> Iterator[Line]:
    """Batch times and memory of the last third against the first, and what there is of files in the end."""
    samples: list[tuple[float, int, int]] = []
    began = time.time()
    flow = Thread(target=send, args=(own, rate, seconds), daemon=True)
    flow.start()
    while flow.is_alive():
        time.sleep(2)
        job = find_job(own)
        if job is None:
            raise RuntimeError("the job ended under the load: its log tells why")
        jvm, others = pss(job.jvm), sum(map(pss, job.all[1:]))
        samples += [(ms, jvm, others) for ms in batch_ms(own)]
    third = max(1, len(samples) // 3)
    thirds = samples[:third], samples[-third:]
    name = f"steady {time.time() - began:.0f} s at {rate:g}/s"
    yield f"{name}: batch time, ms, first and last third", [round(_median(part, 0)) for part in thirds], "no slope"
    for what, index in (("JVM", 1), ("Python processes", 2)):
        sizes = [round(_median(part, index) / 2**20) for part in thirds]
        yield f"{name}: {what}, PSS, MiB, first and last third", sizes, "no slope"
    most = max(jvm + others for _, jvm, others in samples)
    yield f"{name}: memory of all processes at the most, PSS, GiB", round(most / _GIB, 2), "<= 1.5"
    lake = Path(own.settings.lake)
    live = [DeltaTable(str(lake / name)).get_add_actions(flatten=True).column("path").to_pylist() for name in TABLES]
    yield "steady: most files in a table's day", max(max(_by_day(paths), default=0) for paths in live), "bounded"
    on_disk = [len(list(day.glob("*.parquet"))) for day in lake.glob("*/event_date=*")]
    yield "steady: the same with those that were merged in the last hour or two", max(on_disk), "bounded"
    logs = [len(list(log.iterdir())) for log in lake.glob("*/_delta_log")]
    yield "steady: most files in a table's log", max(logs), "bounded"


def batch_ms(own: Stack) -> list[float]:
    """How long the job's newest batch took, where it says so."""
    try:
        told = json.loads((own.settings.run / "progress.json").read_text())["queries"].get("monitor", {})
    except (OSError, ValueError, KeyError):
        return []
    return [float(told["batch_ms"])] if told.get("batch_ms") else []


def _median(samples: list[tuple[float, int, int]], index: int) -> float:
    return statistics.median(sample[index] for sample in samples)


def _by_day(paths: Iterable[str]) -> list[int]:
    """How many of these files lie in each folder."""
    return list(Counter(path.rpartition("/")[0] for path in paths).values())
