"""Every error that agentmon raises on purpose: one line that says what happened and what to do next."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command (an empty result of a query is FINE)."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    CHECK_FAILED = 3
    NO_LAKE = 4


#: What shells say of a command that Ctrl-C ended: 128 and the signal's number.
INTERRUPTED = 130


class AgentmonError(Exception):
    """Base of all our errors; the message is shown to the user as it is, without a stack trace."""

    exit_code = Exit.FAILED


class SettingError(AgentmonError):
    """Raised when a setting has a value that can't be used; names the variable and what it takes."""

    exit_code = Exit.USAGE


class UsageError(AgentmonError):
    """Raised when a command's arguments can't be used together or can't be read."""

    exit_code = Exit.USAGE


class JavaError(AgentmonError):
    """Raised when there is no Java or one that is too old for Spark and Kafka."""


class KafkaUnreachable(AgentmonError):
    """Raised when no broker answers at the address in use."""


class StackError(AgentmonError):
    """Raised when a background process (broker, job) can't be started, stopped or identified."""


class NoLakeError(AgentmonError):
    """Raised when a reading command finds no tables at the lake's place."""

    exit_code = Exit.NO_LAKE


class LakeBusyError(AgentmonError):
    """Raised when another job already writes this lake; names who holds it."""


class OffsetsLostError(AgentmonError):
    """Raised when Kafka has dropped offsets that were never read; names the exact ranges and the flag."""


class IncarnationError(AgentmonError):
    """Raised when a topic was deleted and made anew, or the broker was wiped; names the flag."""


class QueryError(AgentmonError):
    """Raised when a user's SQL can't be run or isn't read-only."""


def interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is behind an error: DuckDB, and a library that is just being loaded, make their own of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def first_line(error: BaseException) -> str:
    """The line of an error that says most: Java's traces and DuckDB's pictures of a query come after it."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
