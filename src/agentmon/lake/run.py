"""One run of an agent, step by step; and what tells two runs, or two agents, apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from agentmon.contracts.measures import bucket_of, quantile
from agentmon.errors import AgentmonError, UsageError
from agentmon.lake.listings import read_rows
from agentmon.lake.selection import Rows, Selection
from agentmon.lake.sessions import read_sessions
from agentmon.lake.status import read_status

#: A step's columns; each kind fills those it has.
COLUMNS = [
    "step", "event_time", "at_s", "gap_s", "kind", "tool", "action", "success", "reward", "duration_ms",
    "thought", "reasoning", "context", "result", "error", "input_tokens", "output_tokens", "cost_usd", "data",
]  # fmt: skip
_KINDS = {"actions": "action", "thoughts": "thought", "learning": "learning"}


class SessionNotFound(AgentmonError):
    """Raised when no session has this id; names the nearest."""


@dataclass(frozen=True)
class Run:
    """What `sessions` says of it, and its steps in order of time: at_s and gap_s in seconds since start and last."""

    session: dict[str, Any]
    steps: list[dict[str, Any]]

    @property
    def rows(self) -> Rows:
        return Rows(COLUMNS, (tuple(step.get(name) for name in COLUMNS) for step in self.steps))


def read_run(lake: str, session_id: str, agent: str | None = None) -> Run:
    """Raises SessionNotFound, and UsageError where several agents have a session of this name."""
    found = read_sessions(lake, Selection(agent=agent, session=session_id)).dicts()
    if not found:
        raise SessionNotFound(_not_found(lake, session_id, agent))
    session = one_of(found)
    nameless = session["nameless"]
    wanted = Selection(
        agent=session["agent_id"], session=None if nameless else session_id,
        since=session["first_event_time"], until=session["last_event_time"] + timedelta(microseconds=1),
    )  # fmt: skip
    rows = {kind: read_rows(lake, table, wanted, nameless=nameless).dicts() for table, kind in _KINDS.items()}
    steps = [{**row, "kind": kind} for kind, some in rows.items() for row in some]
    steps.sort(key=lambda row: (row["event_time"], row["kafka_topic"], row["kafka_partition"], row["kafka_offset"]))
    before = session["first_event_time"]
    for number, step in enumerate(steps, 1):
        at = step["event_time"]
        step["step"] = number
        step["at_s"] = round((at - session["first_event_time"]).total_seconds(), 3)
        step["gap_s"] = round((at - before).total_seconds(), 3)
        before = at
    return Run(session, steps)


def one_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The session meant, of those that are shown by one name; raises UsageError where several agents have it.

    One that has the name for its id comes before one without an id that is shown as AGENT@START.
    """
    agents = sorted({row["agent_id"] for row in found})
    if len(agents) > 1:
        name, those = found[0]["session_id"], ", ".join(agents)
        raise UsageError(f"several agents have a session {name}: say which with --agent ({those})")
    return min(found, key=lambda row: bool(row["nameless"]))


def compare(lake: str, names: tuple[str, str], agent: str | None = None) -> Rows:
    """measure, first, second: of two agents where both names are agents', else of two sessions."""
    status = {row["agent_id"]: row for row in read_status(lake)["agents"]}
    if all(name in status for name in names):
        shown = [key for key in status[names[0]] if key != "agent_id"]
        first, second = (status[name] for name in names)
        return Rows(["measure", *_columns(names)], [(key, first[key], second[key]) for key in shown])
    first, second = (_measures(read_run(lake, name, agent)) for name in names)
    keys = list(dict.fromkeys([*first, *second]))
    return Rows(["measure", *_columns(names)], [(key, first.get(key), second.get(key)) for key in keys])


def _columns(names: tuple[str, str]) -> tuple[str, str]:
    return names if names[0] != names[1] else (names[0], f"{names[1]} (again)")


def _measures(run: Run) -> dict[str, Any]:
    session, actions = run.session, [step for step in run.steps if step["kind"] == "action"]
    known = [step["success"] for step in actions if step["success"] is not None]
    durations = Counter(bucket_of(step["duration_ms"]) for step in actions if step["duration_ms"] is not None)
    same = ("agent_id", "first_event_time", "duration_s", "actions", "thoughts", "errors", "reward", "outcome")
    measures: dict[str, Any] = {name: session[name] for name in (*same, "in_progress")}
    measures["success_rate"] = sum(known) / len(known) if known else None
    measures |= {"p50_ms": quantile(durations, 0.5), "p95_ms": quantile(durations, 0.95)}
    for name in ("input_tokens", "output_tokens", "cost_usd"):
        told = [step[name] for step in actions if step[name] is not None]
        measures[name] = sum(told) if told else None
    measures["longest_gap_s"] = max((step["gap_s"] for step in run.steps), default=None)
    tools = Counter(step["tool"] for step in actions if step["tool"])
    return measures | {f"tool {tool}": count for tool, count in sorted(tools.items())}


def _not_found(lake: str, session_id: str, agent: str | None) -> str:
    recent = [row["session_id"] for row in read_sessions(lake, Selection(agent=agent, limit=2_000)).dicts()]
    near = get_close_matches(session_id, recent, n=3, cutoff=0.5)
    of = f" of {agent}" if agent else ""
    hint = f"did you mean {', '.join(near)}?" if near else "agentmon sessions lists them"
    return f"there is no session {session_id}{of}: {hint}"
