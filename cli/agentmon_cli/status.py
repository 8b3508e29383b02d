"""`agentmon status` in each format. Without typer: see main.py."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

#: Stays open until the process ends, which needs no closing: of 1,000 files that takes 0.1 s, of 30 0.02.
_LAKE = ExitStack()


def show_status(form: str) -> None:
    """Read the lake of the settings and write where its agents stand to stdout; form is table, json or csv."""
    from agentmon.lake.reading import again
    from agentmon.settings import Settings

    found = again(_read)(Settings.from_env().lake)
    if form == "json":
        from agentmon_cli.render import to_json

        sys.stdout.write(to_json(found) + "\n")
    elif form == "csv":
        from agentmon_cli.render import write_csv

        columns = [
            "agent_id", "actions", "thoughts", "success_rate", "avg_reward", "learning_trend", "sessions",
            "last_event_time", "error_rate", "p50_ms", "p95_ms", "memory_bytes", "cpu_percent",
        ]  # fmt: skip
        write_csv(columns, ([agent[name] for name in columns] for agent in found["agents"]))
    else:
        from agentmon_cli.overview import show

        show(found)


def _read(lake: str) -> dict[str, Any]:
    from agentmon.lake.status import prepare, status_of

    _LAKE.close()
    return status_of(_LAKE.enter_context(prepare(lake)))
