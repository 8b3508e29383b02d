"""When a message happened: its own time where that is usable, else Kafka's."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmon.contracts.values import number

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Message times before this are taken for a clock that was never set.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
#: From here on a time in numbers is nanoseconds, microseconds or milliseconds; below, seconds.
NANOSECONDS_FROM = 1e17
MICROSECONDS_FROM = 1e14
MILLISECONDS_FROM = 1e11

#: ISO 8601 as people and their libraries write it: a date, or date and time, both with separators or without; a point or
#: a comma before the fraction; an offset as far as Java goes, ±18:00, of hours or hours and minutes, after a space too.
ISO_TIME = (
    r"(?!0000)(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
    r"([Tt ](?P<hour>\d\d):?(?P<minute>\d\d)(:?(?P<second>\d\d)([.,](?P<fraction>\d+))?)?"
    r"( ?([Zz]|UTC|(?P<sign>[+\-\u2212])(?!18:?0*[1-9])(?P<hours>0\d|1[0-8])(:?(?P<minutes>[0-5]\d))?))?)?"
)

_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_US = (EARLIEST - EPOCH) // _MICROSECOND
_ISO = re.compile(ISO_TIME, re.ASCII)


def microseconds(value: Any) -> int | None:
    """A message's time as microseconds since 1970: epoch seconds, milli-, micro- or nanoseconds, or ISO 8601 text.

    >>> microseconds(1763000004.1), microseconds("1763000004100"), microseconds("2025-11-13 02:13:24,1+00")
    (1763000004100000, 1763000004100000, 1763000004100000)
    >>> microseconds(1763000004123456000)
    1763000004123456
    """
    x = number(value)
    if x is None:
        return _iso_microseconds(value) if isinstance(value, str) else None
    size = abs(x)
    if size >= NANOSECONDS_FROM:
        return _of_nanoseconds(value, x)
    return math.floor(x if size >= MICROSECONDS_FROM else x * 1e3 if size >= MILLISECONDS_FROM else x * 1e6)


def received_at(kafka_timestamp: datetime | None, ingest_time: datetime, max_ahead_s: float) -> datetime:
    """Kafka's timestamp, or the time of reading where a producer set an absurd one."""
    latest = ingest_time + timedelta(seconds=max_ahead_s)
    usable = kafka_timestamp is not None and EARLIEST <= kafka_timestamp <= latest
    received = kafka_timestamp if usable and kafka_timestamp else ingest_time
    return received if received.tzinfo is UTC else received.astimezone(UTC)


def event_time(value: Any, received: datetime, max_ahead_s: float) -> tuple[datetime, str]:
    """(event_time, time_source) of a message that says `value`, received at a time that can be trusted."""
    us = microseconds(value)
    if us is None:
        return received, "kafka"
    latest = (received + timedelta(seconds=max_ahead_s) - EPOCH) // _MICROSECOND
    if _EARLIEST_US <= us <= latest:
        return EPOCH + timedelta(microseconds=us), "message"
    return received, "clamped"


def _of_nanoseconds(value: Any, x: float) -> int:
    """Microseconds: cut off where the nanoseconds are exact, rounded in a double, which holds those of today to 256."""
    try:
        if not isinstance(value, float):
            return int(value) // 1000
    except ValueError:  # "1.7e18", or more leading zeros than Python takes
        pass
    return (int(x) + 500) // 1000


def _iso_microseconds(value: str) -> int | None:
    match = _ISO.fullmatch(value.strip(" "))
    if not match:
        return None
    part = match.groupdict(default="")
    names = ("year", "month", "day", "hour", "minute", "second")
    try:
        moment = datetime(*(int(part[name] or 0) for name in names), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:  # 30 February, 25:00
        return None
    offset = int(part["hours"] or 0) * 60 + int(part["minutes"] or 0)
    us = (moment - EPOCH) // _MICROSECOND + int(part["fraction"][:6].ljust(6, "0"))
    return us + (offset if part["sign"] in ("-", "\u2212") else -offset) * 60_000_000
