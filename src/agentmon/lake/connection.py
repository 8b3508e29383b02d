"""DuckDB over the lake's Delta tables: a read-only view per table, at one version for as long as it is open.

The ledger is pinned first: a batch writes it last, so whatever it has is in the tables pinned after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentmon.contracts.tables import TABLES
from agentmon.errors import AgentmonError, NoLakeError
from agentmon.lake.files import is_local, local_path
from agentmon.lake.types import duckdb_type

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SQL = Path(__file__).parent / "sql"
#: How DuckDB's Delta reader says that there is no table (yet).
_NO_TABLE = ("InvalidTableLocation", "No files in log segment", "No such file")


@cache
def sql(name: str) -> str:
    """The text of sql/<name>.sql."""
    return (_SQL / f"{name}.sql").read_text()


def duckdb_uri(uri: str) -> str:
    """A place of the lake as DuckDB wants it: a path, or s3://… where Spark says s3a://…"""
    if is_local(uri):
        return str(local_path(uri))
    return uri.replace("s3a://", "s3://", 1)


def connect() -> DuckDBPyConnection:
    """DuckDB in memory, in UTC, able to read Delta tables; nothing is looked up on the network."""
    import duckdb

    con = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
    )
    con.execute(f"LOAD {literal(str(_delta_extension()))}")
    con.execute("SET TimeZone = 'UTC'")
    return con


def open_lake(lake: str, tables: Iterable[str] = TABLES, *, stand_ins: bool = True) -> DuckDBPyConnection:
    """A connection with a view per table, all pinned now. Close it, or use it as a context manager.

    `stand_ins`: a table that only a newer version's job brings is shown empty instead of missing.
    Raises NoLakeError where there is no lake yet.
    """
    con = connect()
    try:
        if not _attach(con, lake, "ledger"):
            raise NoLakeError(f"there is no lake at {lake} yet: `agentmon up` starts the job that fills it")
        wanted = {"ledger", *tables}
        for name, table in TABLES.items():
            if name not in wanted:
                continue
            if name == "ledger" or _attach(con, lake, name):
                con.execute(f"CREATE VIEW {name} AS FROM delta_{name}")
            elif stand_ins:
                columns = ", ".join(f'"{c.name}" {duckdb_type(c.type)}' for c in table.columns)
                con.execute(f"CREATE TABLE {name} ({columns})")
    except BaseException:
        con.close()
        raise
    return con


def seal(con: DuckDBPyConnection) -> None:
    """Let `summaries` and `sessions`, where they are open, show whole batches only: those that the ledger has."""
    con.execute(sql("sealed"))
    opened = con.execute("SELECT view_name FROM duckdb_views() WHERE view_name IN ('summaries', 'sessions')").fetchall()
    for (name,) in opened:
        con.execute(f"CREATE OR REPLACE VIEW {name} AS {sql('sealed_view').format(table=name)}")


def records(con: DuckDBPyConnection, query: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """All rows of a query, each by column name."""
    found = con.execute(query, parameters or {})
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def literal(text: str) -> str:
    """A text as an SQL literal, where a statement takes no bound values."""
    return "'" + text.replace("'", "''") + "'"


def first_line(error: BaseException) -> str:
    """What DuckDB says, without the excerpt of the query below it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _attach(con: DuckDBPyConnection, lake: str, table: str) -> bool:
    """Pin a table's newest version as delta_<table>; False where there is no such table."""
    import duckdb

    place = f"{duckdb_uri(lake)}/{table}"
    if is_local(lake) and not Path(place, "_delta_log").is_dir():
        return False
    try:
        con.execute(f"ATTACH {literal(place)} AS delta_{table} (TYPE delta, PIN_SNAPSHOT, READ_ONLY)")
        con.execute(f"DESCRIBE delta_{table}")  # takes the snapshot now, not at the first query
    except duckdb.Error as error:
        if any(sign in str(error) for sign in _NO_TABLE):
            con.execute(f"DETACH DATABASE IF EXISTS delta_{table}")
            return False
        raise AgentmonError(f"can't read {place}: {first_line(error)}") from error
    return True


@cache
def _delta_extension() -> Path:
    spec = find_spec("duckdb_extension_delta")
    folders = spec.submodule_search_locations if spec else None
    found = sorted(Path(folders[0]).rglob("*.duckdb_extension")) if folders else []
    if not found:
        raise AgentmonError("the package duckdb-extension-delta is missing: `make setup` installs it")
    return found[-1]
