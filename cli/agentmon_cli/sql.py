"""sql: one query from the command line, a file or stdin, or a shell with history and completion."""

from __future__ import annotations

import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentmon_cli.read import AsJson, Form, chosen_format, lake
from agentmon_cli.told import tell

if TYPE_CHECKING:
    from agentmon.lake.selection import Rows

#: A query that took longer and names no event_date is told how to take less.
_SLOW_S = 1.0
#: Rows of one result as a table, for which all of them are in memory; JSON and CSV stream.
_TABLE_ROWS = 1_000
_HISTORY = 1_000
_SHELL_HELP = """One SELECT (or EXPLAIN, DESCRIBE, SHOW, SUMMARIZE), ended by a semicolon. Read-only.
.tables       what the tables are      .columns TABLE  what is in one
.help         this                     .quit, Ctrl-D   leave"""
#: The columns of what EXPLAIN gives.
_PLAN = ["explain_key", "explain_value"]
_KEYWORDS = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "BY",
    "LIMIT",
    "HAVING",
    "JOIN",
    "LEFT",
    "JOIN",
    "USING",
    "ON",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "IS",
    "NULL",
    "AS",
    "DISTINCT",
    "COUNT",
    "SUM",
    "AVG",
    "MIN",
    "MAX",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "WITH",
    "UNION",
    "ALL",
    "DESC",
    "INTERVAL",
    "DATE",
    "TIMESTAMPTZ",
]


def register(app: typer.Typer) -> None:
    """Add sql."""
    app.command(
        epilog="Examples: agentmon sql 'SELECT count(*) FROM actions'; agentmon sql --file q.sql --format csv;"
        " echo 'FROM ledger LIMIT 5' | agentmon sql; agentmon sql (a shell)"
    )(sql)


def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUERY]", help="One SELECT; - reads it from stdin. Without one, on a terminal: a shell."
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the query from this file.")] = None,
    form: Form = "table",
    as_json: AsJson = False,
) -> None:
    """Ask anything in SQL (DuckDB's) over every table, read-only. Without a query: an interactive shell.

    A table shows the first 1,000 rows; --format csv and json have all.
    """
    form = chosen_format(form, as_json)
    from agentmon.errors import UsageError

    if query is not None and file is not None:
        raise UsageError("QUERY and --file can't be used together: choose one")
    if file is not None:
        text = _read(file)
    elif query is not None and query != "-":
        text = query
    elif query is None and sys.stdin and sys.stdin.isatty():
        _shell(form)
        return
    else:
        text = _read(None)
    if not text.strip():
        raise UsageError("there is no query: give QUERY, --file FILE, or write one to stdin")
    _run(text, form)


def _read(file: Path | None) -> str:
    """A query from a file, or else from stdin."""
    from agentmon.errors import UsageError

    try:
        if file is not None:
            return file.read_text()
        return sys.stdin.read() if sys.stdin else ""  # None where it was closed before we began
    except (OSError, UnicodeDecodeError) as error:
        source = "stdin" if file is None else f"--file {file}"
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or error
        raise UsageError(f"{source} can't be read: {reason}") from error


def _run(text: str, form: str) -> None:
    from agentmon.errors import UsageError
    from agentmon.lake.adhoc import run_sql
    from agentmon.lake.selection import Rows
    from agentmon_cli.render import note, write

    # What Python makes of an argument's bytes that are not UTF-8.
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError("the query can't be read: it is not UTF-8")
    begun = time.monotonic()
    found = run_sql(lake(), text)
    limit = _TABLE_ROWS if form == "table" else None
    rows = Rows(found.columns, found, limit)
    if form == "table" and rows.columns == _PLAN:
        _write_plan(rows)
    else:
        write(form, rows.columns, rows)
    if rows.cut:
        note(f"the first {limit:,} rows; agentmon sql QUERY --format csv, or json, gives all")
    if time.monotonic() - begun > _SLOW_S and scans_everything(text):
        note(
            "it read every day: a condition on event_date, the partition, reads less (event_date >= DATE '2026-11-01')"
        )


def _write_plan(rows: Rows) -> None:
    """EXPLAIN's plan as DuckDB draws it; its conditions may have data in them."""
    from agentmon_cli.render import harmless

    for _, plan in rows:
        sys.stdout.write(harmless(str(plan)).rstrip("\n") + "\n")


def scans_everything(query: str) -> bool:
    """Whether a query reads a table of messages without saying which days.

    >>> scans_everything("SELECT * FROM actions"), scans_everything("FROM actions WHERE event_date > '2026-11-01'")
    (True, False)
    """
    from agentmon.contracts.tables import MESSAGE_TABLES

    words = set(re.findall(r"\w+", query.lower()))
    return bool(words & set(MESSAGE_TABLES)) and "event_date" not in words


def _shell(form: str) -> None:
    """Read queries from the terminal until its end."""
    import readline

    from agentmon.errors import NoLakeError
    from agentmon.settings import Settings
    from agentmon_cli.render import note

    history = Settings.from_env().home / "sql_history"
    with suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(_HISTORY)
    names = completions()
    readline.set_completer(lambda text, state: next(iter([*matching(names, text)][state : state + 1]), None))
    readline.set_completer_delims(" \t\n,()<>=;'\"+-*/")
    readline.parse_and_bind("tab: complete")
    note("agentmon sql: queries end with ; and .help helps")
    text = ""
    try:
        while True:
            try:
                line = input("agentmon> " if not text else "     ...> ")
            except KeyboardInterrupt:
                note("")
                text = ""
                continue
            except UnicodeDecodeError as error:
                tell(error, "the line can't be read: it is not UTF-8")
                continue
            if not text and line.strip().startswith("."):
                if not _command(line.split()):
                    return
                continue
            text = f"{text}\n{line}" if text else line
            if not text.strip():
                text = ""
            elif text.rstrip().endswith(";"):
                try:
                    _run(text, form)
                except (NoLakeError, BrokenPipeError):
                    raise
                except Exception as error:  # noqa: BLE001 - no query ends the shell
                    tell(error)
                except KeyboardInterrupt:
                    note("stopped")
                text = ""
    except EOFError:
        note("")
    finally:
        with suppress(OSError):
            readline.write_history_file(history)


def completions() -> list[str]:
    """What Tab completes: tables, their columns, SQL's words."""
    from agentmon.contracts.tables import TABLES

    columns = {name for table in TABLES.values() for name in table.column_names}
    return sorted({*TABLES, *columns}) + _KEYWORDS


def matching(names: list[str], text: str) -> list[str]:
    """The names that begin like this, in the case that the person types.

    >>> matching(["actions", "SELECT"], "sel"), matching(["actions", "SELECT"], "AC")
    (['select'], ['actions'])
    """
    found = [name for name in names if name.lower().startswith(text.lower())]
    return [name.lower() if name.isupper() and text.islower() else name for name in found]


def _command(words: list[str]) -> bool:
    """A command of the shell; False where it ends it."""
    from agentmon.contracts.tables import TABLES
    from agentmon_cli.render import note, write_table

    if words[0] in (".quit", ".exit", ".q"):
        return False
    if words[0] == ".tables":
        write_table(["table", "what it has"], [(table.name, table.comment) for table in TABLES.values()])
    elif words[0] == ".columns" and len(words) == 2 and words[1] in TABLES:
        write_table(["column", "what it is"], [(c.name, c.comment) for c in TABLES[words[1]].columns])
    else:
        note(_SHELL_HELP)
    return True
