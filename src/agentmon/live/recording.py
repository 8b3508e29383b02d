"""Recordings: lines of {topic, key, value}, their times, and how to play them back."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO, cast

from agentmon.contracts.event_time import EARLIEST
from agentmon.errors import AgentmonError, UsageError

_MILLISECONDS_FROM = 1e11
_MICROSECONDS_FROM = 1e14


class RecordingError(AgentmonError):
    """Raised when a line of a recording can't be read as {topic, key, value}; names file and line."""


@dataclass(frozen=True)
class RecordedMessage:
    """One message of a recording."""

    topic: str
    key: str | None
    value: Any

    def payload(self) -> bytes:
        """The value as it goes to Kafka: compact JSON, the same for the same value every time."""
        try:
            return json.dumps(self.value, separators=(",", ":"), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            # Half of a surrogate pair has no UTF-8; as an escape it has.
            return json.dumps(self.value, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Summary:
    """What a recording holds, from one pass over it.

    span: (from, to) in epoch seconds, both inclusive, the times in it that count; last: the latest of those.
    """

    messages: int
    topics: frozenset[str]
    last: float | None
    span: tuple[float, float]

    def time_of(self, value: Any) -> float | None:
        """As `time_of`, None also where the time does not count."""
        moment = time_of(value)
        return moment if moment is not None and self.span[0] <= moment <= self.span[1] else None


def read(path: Path) -> Iterator[RecordedMessage]:
    """The records of a .jsonl or .jsonl.gz file. Raises RecordingError at the first line that is none."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _parse(path, number, line)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} can't be read after line {number} ({error}): is it whole?") from error


def summarise(path: Path, latest: float = math.inf) -> Summary:
    """Read all of a recording once, so that nothing is sent of one that is damaged halfway.

    Of clocks that were never set, or that are ahead of `latest` (epoch seconds), no times count, unless there are no
    others: one such message among many would move all of them, or hold them up for years.
    """
    messages, topics = 0, set()
    sane, all_of_time = (EARLIEST.timestamp(), latest), (-math.inf, math.inf)
    last: dict[tuple[float, float], float] = {}
    for record in read(path):
        messages += 1
        topics.add(record.topic)
        moment = time_of(record.value)
        if moment is not None:
            span = sane if sane[0] <= moment <= sane[1] else all_of_time
            last[span] = max(moment, last.get(span, moment))
    span = sane if sane in last else all_of_time
    return Summary(messages, frozenset(topics), last.get(span), span)


def time_of(value: Any) -> float | None:
    """An event's own time in epoch seconds, None where it has none.

    >>> time_of({"timestamp": 1763000000500}), time_of({"event": {"ts": "2025-11-13T02:13:20Z"}})
    (1763000000.5, 1763000000.0)
    """
    moments = (_seconds(holder[name]) for holder in _holders(value) for name in ("timestamp", "ts") if name in holder)
    return next((moment for moment in moments if moment is not None), None)


def shifted(value: Any, seconds: float) -> Any:
    """The value with each of its times moved, each kept in the form and unit that it had.

    >>> shifted({"timestamp": 1000.5, "event": {"ts": "2001-09-09T01:46:40Z"}}, 10)
    {'timestamp': 1010.5, 'event': {'ts': '2001-09-09T01:46:50Z'}}
    """
    if not isinstance(value, dict):
        return value
    moved = {name: _moved(part, seconds) if name in ("timestamp", "ts") else part for name, part in value.items()}
    if isinstance(value.get("event"), dict):
        moved["event"] = shifted(value["event"], seconds)
    return moved


def _holders(value: Any) -> list[dict[str, Any]]:
    """Where a time may stand: inside an envelope the event's own wins."""
    if not isinstance(value, dict):
        return []
    inner = value.get("event")
    return [inner, value] if isinstance(inner, dict) else [value]


def _unit(number: float) -> float:
    if abs(number) >= _MICROSECONDS_FROM:
        return 1e6
    return 1e3 if abs(number) >= _MILLISECONDS_FROM else 1.0


def _seconds(part: Any) -> float | None:
    if isinstance(part, bool) or part is None:
        return None
    try:
        number = float(part)
    except (TypeError, ValueError):
        moment = _iso(part)
        return moment.timestamp() if moment else None
    except OverflowError:
        return None
    return number / _unit(number) if abs(number) < 1e18 else None


def _moved(part: Any, seconds: float) -> Any:
    if _seconds(part) is None:
        return part
    if isinstance(part, int):
        return part + round(seconds * _unit(part))
    if isinstance(part, float):
        return part + seconds * _unit(part)
    try:
        number = float(part)
    except ValueError:
        try:
            moment = cast(datetime, _iso(part)) + timedelta(seconds=seconds)
        except OverflowError:  # beyond the year 9999
            return part
        return moment.isoformat().replace("+00:00", "Z" if part.endswith("Z") else "+00:00")
    return repr(number + seconds * _unit(number))


def _iso(part: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(part)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _open(path: Path) -> TextIO:
    if path.name.endswith(".gz"):
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8"))
    return path.open(encoding="utf-8")


def _parse(path: Path, number: int, line: str) -> RecordedMessage:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{path}, line {number}: not JSON ({error}); nothing was sent") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("topic"), str) or "value" not in fields:
        wanted = '{"topic": text, "key": text or null, "value": …}'
        raise RecordingError(f"{path}, line {number}: not a record, which is {wanted}; nothing was sent")
    key = fields.get("key")
    if key is not None and not isinstance(key, str):
        raise RecordingError(f"{path}, line {number}: the key is no text; nothing was sent")
    return RecordedMessage(fields["topic"], key, fields["value"])
