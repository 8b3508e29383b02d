"""A user's SQL over every table: one SELECT, read-only for good.

Four locks, because none is enough by itself (spark-delta-notes.md): only what DuckDB's own parser can
serialise as a SELECT gets through (no COPY, DROP, ATTACH, SET, PRAGMA, INSTALL); functions that open a
Delta table by path, or run text as SQL, are refused; files outside the lake and its archive are out of
reach; and the configuration is locked before the query runs. Ctrl-C stops it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from agentmon.errors import AgentmonError, QueryError, first_line, interrupted
from agentmon.lake.connection import Connection, duckdb_uri, literal, open_lake
from agentmon.lake.selection import Rows
from agentmon.lake.stopping import stoppable

_FETCH = 2_000
#: What may stand before and after the word EXPLAIN, and what it takes.
_GAP = r"(?:\s|--[^\n]*|/\*.*?\*/)*+"
_OPTION = r"\s*(?:analyze|format)(?:\s+'?\w+'?)?\s*"
_EXPLAIN = re.compile(
    rf"{_GAP}explain\b{_GAP}(?P<how>analyze\b|\({_OPTION}(?:,{_OPTION})*\))?(?P<query>.*)", re.IGNORECASE | re.DOTALL
)
#: Functions that reach past the views: Delta tables by path, and text that is run as SQL.
_REFUSED = re.compile(r"^(delta_|get_delta|parse_delta|query$|json_execute_serialized_sql$)", re.IGNORECASE)
_ONLY = "one SELECT (or EXPLAIN, DESCRIBE, SHOW) over the lake's tables: `agentmon tables` shows them"


def run_sql(lake: str, query: str, readable: Sequence[str] = ()) -> Rows:
    """Run a user's query; the rows stream. `readable` are further folders whose files it may read (the archive).

    Raises QueryError with DuckDB's own words where the query is wrong, or says that it isn't read-only; and
    KeyboardInterrupt at Ctrl-C.
    """
    rows = _stream(lake, query, readable)
    return Rows(next(rows), rows)


def checked(con: Connection, query: str) -> str:
    """The text to run of a query.

    Raises QueryError unless it is one statement that only reads.
    """
    statements: list[Any] = list(con.extract_statements(query))
    if len(statements) != 1:
        raise QueryError(f"{'nothing to run' if not statements else 'several statements'}: give {_ONLY}")
    explained = _EXPLAIN.match(query)
    inner = explained["query"] if explained else query
    refused = sorted({name for name in _functions(_tree(con, inner)) if _REFUSED.match(name)})
    if refused:
        raise QueryError(f"{refused[0]}() is not for queries here: give {_ONLY}")
    # Put together anew: what is explained is what was checked, however DuckDB reads what stood before it.
    return f"EXPLAIN {explained['how'] or ''} {inner}" if explained else query


def _tree(con: Connection, query: str) -> Any:
    found = con.execute("SELECT json_serialize_sql($query::VARCHAR)", {"query": query}).fetchone()
    tree: dict[str, Any] = json.loads(found[0]) if found else {"error": True}
    if tree["error"] or len(tree.get("statements", ())) != 1:
        message = str(tree.get("error_message", ""))
        if tree.get("error_type") == "parser":
            raise QueryError(message.splitlines()[0])
        raise QueryError(f"this is not a query that only reads: give {_ONLY}")
    return tree


def _functions(node: Any) -> Iterator[str]:
    """Every function that a serialised query calls."""
    if isinstance(node, dict):
        if isinstance(name := node.get("function_name"), str):
            yield name
        for value in node.values():
            yield from _functions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _functions(value)


def _lock(con: Connection, folders: Sequence[str]) -> None:
    allowed = ", ".join(literal(folder + "/") for folder in folders)
    con.execute(f"SET allowed_directories = [{allowed}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _stream(lake: str, query: str, readable: Sequence[str]) -> Iterator[Any]:
    """First the columns' names, then the rows."""
    try:
        with open_lake(lake) as con:
            text = checked(con, query)
            _lock(con, [duckdb_uri(folder) for folder in (lake, *readable)])
            with stoppable(con):
                con.execute(text)
            yield _distinct([d[0] for d in con.description or ()])
            while found := _fetch(con):
                yield from found
    except AgentmonError:
        raise
    except Exception as error:
        if interrupted(error):
            raise KeyboardInterrupt from error
        raise QueryError(first_line(error)) from error


def _fetch(con: Connection) -> list[tuple[Any, ...]]:
    with stoppable(con):
        try:
            return con.fetchmany(_FETCH)
        except (OverflowError, ValueError) as error:
            raise QueryError(f"Python has no such value ({error}): cast it to VARCHAR") from error


def _distinct(names: Sequence[str]) -> list[str]:
    """A name that comes twice gets a number, or a JSON object would lose a column.

    >>> _distinct(["n", "n", "n_2", "n"])
    ['n', 'n_2', 'n_2_2', 'n_3']
    """
    seen: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in seen:
            number += 1
            candidate = f"{name}_{number}"
        seen.append(candidate)
    return seen
