"""Reading commands: what the lake has, as a table, JSON or CSV. Each opens the lake only once it runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agentmon.lake.selection import Rows, Selection

Form = Annotated[str, typer.Option("--format", help="table, json or csv.")]
AsJson = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
Agent = Annotated[str | None, typer.Option(help="Of this agent only.")]
Session = Annotated[str | None, typer.Option(help="Of this session only.")]
Since = Annotated[str | None, typer.Option(help="From then on: 1h, 30m, 2d, or a date or time (UTC).")]
Until = Annotated[str | None, typer.Option(help="Up to then, in the same words.")]
Limit = Annotated[int, typer.Option(min=0, help="So many rows at the most; 0 is all.")]

#: What a table shows of a listing, what matters most first: a narrow terminal has no room for the last of them.
#: JSON and CSV have every column.
_SHOWN = {
    "actions": ["event_time", "agent_id", "tool", "success", "reward", "duration_ms", "error", "action"],
    "thoughts": ["event_time", "agent_id", "confidence", "thought"],
    "learning": ["event_time", "agent_id", "session_id", "tool", "reward", "avg_reward", "learning_trend"],
    "metrics": ["event_time", "agent_id", "metrics", "action_count", "thought_count"],
    "sessions": [
        "session_id", "agent_id", "reward", "actions", "duration_s", "in_progress", "errors", "thoughts",
        "first_event_time",
    ],
    "history": [
        "bucket_start", "actions", "success_rate", "avg_reward", "errors", "p50_ms", "p95_ms",
        "input_tokens", "output_tokens", "cost_usd",
    ],
}  # fmt: skip

#: What the help of each command ends with.
_EXAMPLES = {
    "status": "agentmon status; agentmon status --json",
    "actions": "agentmon actions --since 1h; agentmon actions --agent planner --limit 0 --format csv",
    "thoughts": "agentmon thoughts --agent planner --since 30m; agentmon thoughts --session run-7 --json",
    "learning": "agentmon learning --since 2026-11-01 --until 2026-11-08; agentmon learning --agent planner",
    "metrics": "agentmon metrics --agent planner --since 1d",
    "sessions": "agentmon sessions --since 1d; agentmon sessions --agent planner --limit 0 --json",
    "tools": "agentmon tools --agent planner --since 7d",
    "history": "agentmon history --last 1h --bucket 10m; agentmon history --agent planner --format csv",
    "tables": "agentmon tables; agentmon tables actions",
}


def register(app: typer.Typer) -> None:
    """Add the reading commands."""
    for command in (status, actions, thoughts, learning, metrics, sessions, tools, history, tables):
        app.command(epilog=f"Examples: {_EXAMPLES[command.__name__]}")(command)


def status(form: Form = "table", as_json: AsJson = False) -> None:
    """Where the agents stand: counts, success, rewards, trends, tools."""
    form = chosen_format(form, as_json)
    from agentmon_cli.status import show_status

    show_status(form)


def actions(
    agent: Agent = None, session: Session = None, since: Since = None, until: Until = None, limit: Limit = 20,
    form: Form = "table", as_json: AsJson = False,
) -> None:  # fmt: skip
    """What agents did, newest first."""
    _listing("actions", _selection(agent, session, since, until, limit), chosen_format(form, as_json))


def thoughts(
    agent: Agent = None, session: Session = None, since: Since = None, until: Until = None, limit: Limit = 20,
    form: Form = "table", as_json: AsJson = False,
) -> None:  # fmt: skip
    """What agents thought, newest first."""
    _listing("thoughts", _selection(agent, session, since, until, limit), chosen_format(form, as_json))


def learning(
    agent: Agent = None, session: Session = None, since: Since = None, until: Until = None, limit: Limit = 20,
    form: Form = "table", as_json: AsJson = False,
) -> None:  # fmt: skip
    """What agents learned, newest first."""
    _listing("learning", _selection(agent, session, since, until, limit), chosen_format(form, as_json))


def metrics(
    agent: Agent = None, session: Session = None, since: Since = None, until: Until = None, limit: Limit = 20,
    form: Form = "table", as_json: AsJson = False,
) -> None:  # fmt: skip
    """What agents measured about themselves, newest first."""
    _listing("metrics", _selection(agent, session, since, until, limit), chosen_format(form, as_json))


def sessions(
    agent: Agent = None, session: Session = None, since: Since = None, until: Until = None, limit: Limit = 20,
    form: Form = "table", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Runs of agents: how long, how many steps, which reward; the newest activity first."""
    wanted, form = _selection(agent, session, since, until, limit), chosen_format(form, as_json)
    from agentmon.lake.sessions import read_sessions

    _show("sessions", read_sessions(lake(), wanted), form)


def tools(
    agent: Agent = None, since: Since = None, until: Until = None, limit: Limit = 20,
    form: Form = "table", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Which tools agents use and how well it goes, the most used first; a time counts whole windows (AGENTMON_WINDOW)."""
    wanted, form = _selection(agent, None, since, until, limit), chosen_format(form, as_json)
    from agentmon.lake.tools import read_tools

    _show("tools", read_tools(lake(), wanted), form)


def history(
    bucket: Annotated[str | None, typer.Option(help="Width of a bucket: 10m, 1h, 1d; chosen where not given.")] = None,
    last: Annotated[str | None, typer.Option(help="Only the last 1h, 2d, …")] = None,
    agent: Agent = None, since: Since = None, until: Until = None,
    form: Form = "table", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Learning over time, in buckets of whole windows (AGENTMON_WINDOW); all of the data unless told otherwise."""
    from agentmon.errors import UsageError
    from agentmon_cli.render import note
    from agentmon_cli.when import span

    if last is not None and since is not None:
        raise UsageError("--last and --since say the same thing twice: give one of them")
    if last is not None:
        span(last, "--last")
    wanted = _selection(agent, None, last or since, until, 0, "--since" if last is None else "--last")
    width = span(bucket, "--bucket") if bucket is not None else None
    form = chosen_format(form, as_json)
    from agentmon.lake.history import read_history

    found = read_history(lake(), wanted, width)
    if form == "table":
        from agentmon.lake.selection import Rows
        from agentmon_cli.chart import show_chart

        buckets = list(found.rows)
        _show("history", Rows(found.rows.columns, buckets), form)
        show_chart(found.rows.columns, buckets)
    else:
        _show("history", found.rows, form)
    if found.widest_window > found.bucket:
        note(f"windows of {found.widest_window} are wider than a bucket of {found.bucket}: each stands at its start")


def tables(
    name: Annotated[str | None, typer.Argument(help="One table: its columns.")] = None,
    form: Form = "table",
    as_json: AsJson = False,
) -> None:
    """What the tables are: columns, types, comments, an example query each."""
    form = chosen_format(form, as_json)
    from agentmon.lake.catalog import describe_tables
    from agentmon_cli.render import note, write, write_table

    found = describe_tables(name)
    if form != "table":
        write(form, found.columns, found)
        return
    from agentmon.contracts.tables import TABLES

    if name is None:
        write_table(["table", "what it has"], [(table.name, table.comment) for table in TABLES.values()])
        note("agentmon tables NAME shows one table's columns and an example")
    else:
        write_table(found.columns[1:], (row[1:] for row in found))
        typer.echo(f"{TABLES[name].comment}. Partitioned by {TABLES[name].partition}.")
        typer.echo(f'agentmon sql "{TABLES[name].example}"')


def _listing(table: str, wanted: Selection, form: str) -> None:
    from agentmon.lake.listings import read_rows

    _show(table, read_rows(lake(), table, wanted), form)


def _show(what: str, rows: Rows, form: str) -> None:
    from agentmon_cli.render import note, some_columns, write

    hidden = {"nameless"} if what == "sessions" else set()
    columns = _SHOWN.get(what, rows.columns) if form == "table" else [c for c in rows.columns if c not in hidden]
    write(form, columns, some_columns(rows.columns, columns, rows), all_columns=False)
    if rows.cut:
        note(f"the newest {rows.limit} rows; --limit N gives more, --limit 0 all" if what != "tools" else
             f"the {rows.limit} most used tools; --limit 0 gives all")  # fmt: skip


def chosen_format(form: str, as_json: bool) -> str:
    from agentmon.errors import UsageError
    from agentmon_cli.render import FORMATS

    if form not in FORMATS:
        raise UsageError(f"--format {form} can't be used: it takes table, json or csv")
    return "json" if as_json else form


def _selection(
    agent: str | None, session: str | None, since: str | None, until: str | None, limit: int, since_is: str = "--since"
) -> Selection:
    from agentmon.errors import UsageError
    from agentmon.lake.selection import BEGINNING, END, Selection
    from agentmon_cli.when import moment

    now = datetime.now(UTC)
    start = moment(since, since_is, now) if since is not None else BEGINNING
    end = moment(until, "--until", now) if until is not None else END
    if start >= end:
        typed = [f"{name} {text}" for name, text in ((since_is, since), ("--until", until)) if text is not None]
        raise UsageError(f"{' and '.join(typed)} can't be used: no event lies in that time")
    return Selection(agent, session, start, end, limit or None)


def lake() -> str:
    from agentmon.settings import Settings

    return Settings.from_env().lake
