"""Make the log of a small Delta table as long as if it had had very many commits, cleaned as its properties say.

Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Delta Log Entries" and "Checkpoints".
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from deltalake import DeltaTable

_UNITS = {"hours": 3600, "days": 86_400, "minutes": 60}


@dataclass(frozen=True)
class Span:
    """`commits` of batches, evenly over `seconds` until now; the newest `kept` are there, and stay the newest.

    merged: after so many batches their files were merged, a commit of its own. properties: the table's.
    """

    commits: int
    seconds: float
    kept: int
    merged: int
    properties: Mapping[str, str]

    @property
    def versions(self) -> int:
        """The newest version."""
        return self.commits + self.commits // self.merged

    @property
    def step_s(self) -> float:
        return self.seconds / self.versions

    @property
    def interval(self) -> int:
        return int(self.properties["delta.checkpointInterval"])

    @property
    def oldest(self) -> int:
        """The oldest version that the log still has: a checkpoint, from before the retention."""
        _, number, unit = self.properties["delta.logRetentionDuration"].split()
        kept = int(int(number) * _UNITS[unit] / self.step_s)
        return self.checkpoint(max(self.interval, self.versions - max(kept, self.kept + self.interval)))

    def checkpoint(self, version: int) -> int:
        """The newest checkpoint of this version or an earlier one."""
        return (version + 1) // self.interval * self.interval - 1


def lengthen(log: Path, span: Span) -> None:
    """Version 1 of the table has all files but those of the newest commits, which follow it, one each."""
    place = str(log.parent)
    DeltaTable(place, version=1).create_checkpoint()
    newest = [_actions(log / f"{2 + n:020}.json") for n in range(span.kept)]
    merged = next(action for action in reversed(_actions(log / f"{1:020}.json")) if "add" in action)
    (log / f"{1:020}.checkpoint.parquet").rename(log / f"{span.oldest:020}.checkpoint.parquet")
    for path in log.glob("*.json"):
        path.unlink()
    (log / "_last_checkpoint").write_text(json.dumps({"version": span.oldest, "size": 10}))
    for version, actions in _forged(span, newest[-1], merged):
        _write(log, version, actions, span)
    for number, actions in enumerate(newest):
        _write(log, span.versions - span.kept + 1 + number, actions, span)
    last = span.checkpoint(span.versions)
    DeltaTable(place, version=last).create_checkpoint()
    for version in range(span.oldest + span.interval, last, span.interval):
        os.link(log / f"{last:020}.checkpoint.parquet", log / f"{version:020}.checkpoint.parquet")
    for path in log.glob("*.*"):
        moment = _moment(int(path.name[:20]), span)
        os.utime(path, (moment, moment))


def _forged(span: Span, sample: list[dict[str, Any]], merged: dict[str, Any]) -> Iterator[tuple[int, list[Any]]]:
    """Commits between the oldest and the newest: batches like the sample, and after so many of them their merge."""
    waiting: list[dict[str, Any]] = []
    batch = next(action["txn"]["version"] for action in sample if "txn" in action)
    for version in range(span.oldest, span.versions - span.kept + 1):
        last = version == span.versions - span.kept
        if len(waiting) < span.merged and not last:
            actions = json.loads(json.dumps(sample))
            for action in actions:
                if "txn" in action:
                    action["txn"]["version"] = batch - span.versions + version
                if "add" in action:
                    action["add"]["path"] = _renamed(action["add"]["path"], version)
                    action["add"]["modificationTime"] = round(_moment(version, span) * 1000)
                    waiting.append(action["add"])
            yield version, actions
        else:
            yield version, [_optimized(len(waiting)), *(_removed(add, version, span) for add in waiting), merged]
            waiting = []


def _optimized(count: int) -> dict[str, Any]:
    return {
        "commitInfo": {
            "operation": "OPTIMIZE",
            "operationParameters": {"targetSize": "16777216", "predicate": '["event_date = 2026-01-01"]'},
            "readVersion": 1,
            "numFilesRemoved": count,
        }
    }


def _removed(add: dict[str, Any], version: int, span: Span) -> dict[str, Any]:
    return {
        "remove": {
            "path": add["path"],
            "dataChange": False,
            "deletionTimestamp": round(_moment(version, span) * 1000),
            "extendedFileMetadata": True,
            "partitionValues": add["partitionValues"],
            "size": add["size"],
        }
    }


def _renamed(path: str, version: int) -> str:
    """A file that nobody has: it is merged by now."""
    return f"{path.rpartition('/')[0]}/part-00000-{UUID(int=version)}-c000.snappy.parquet"


def _actions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _write(log: Path, version: int, actions: list[dict[str, Any]], span: Span) -> None:
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = round(_moment(version, span) * 1000)
    (log / f"{version:020}.json").write_text("\n".join(json.dumps(action) for action in actions))


def _moment(version: int, span: Span) -> float:
    """When a version was committed, epoch seconds."""
    return time.time() - (span.versions - version) * span.step_s
