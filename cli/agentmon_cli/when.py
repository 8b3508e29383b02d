"""Times and spans as people type them: 30m, 2d, 2026-11-01, 2026-11-01T12:00Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from agentmon.errors import UsageError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
_LONGEST = timedelta(days=36_500)


def span(text: str, option: str) -> timedelta:
    """30s, 10m, 1h, 2d or 1w, more than nothing; raises UsageError naming the option.

    >>> span("1.5h", "--last")
    datetime.timedelta(seconds=5400)
    """
    match = _SPAN.fullmatch(text.strip())
    try:
        length = timedelta(**{_UNITS[match[2].lower()]: float(match[1])}) if match else timedelta(0)
    except OverflowError:
        length = timedelta(0)
    if not timedelta(0) < length <= _LONGEST:
        raise UsageError(f"{option} {text!r} can't be used: it takes a length of time such as 10m, 1h or 2d")
    return length


def moment(text: str, option: str, now: datetime | None = None) -> datetime:
    """So long ago (1h), or an ISO date or time, UTC unless it says otherwise.

    >>> moment("2026-11-01", "--since")
    datetime.datetime(2026, 11, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if _SPAN.fullmatch(text.strip()):
        return (now or datetime.now(UTC)) - span(text, option)
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        takes = "a length of time (1h, 30m, 2d) or a date or time (2026-11-01, 2026-11-01T12:00)"
        raise UsageError(f"{option} {text!r} can't be used: it takes {takes}") from None
