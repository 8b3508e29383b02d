"""DuckDB over the lake's Delta tables: a read-only view per table, at one version for as long as it is open.

The ledger is pinned first: a batch writes it last, so whatever it has is in the tables pinned after it.
`summaries` and `sessions` show only what it has: a batch that is being written is seen whole or not at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from glob import glob
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# The package around it looks up its own version in importlib.metadata, and more: 70 ms of every reading command.
import _duckdb as duckdb

from agentmon.contracts.tables import TABLES
from agentmon.errors import AgentmonError, NoLakeError, first_line
from agentmon.lake.files import is_local, local_path
from agentmon.lake.types import duckdb_type

Connection = duckdb.DuckDBPyConnection

_SQL = Path(__file__).parent / "sql"
#: Tables of which only whole batches are shown.
SEALED = ("summaries", "sessions")
#: How DuckDB's Delta reader says that there is no table (yet).
_NO_TABLE = ("InvalidTableLocation", "No files in log segment", "No such file")
#: Characters of a path that its Delta reader takes for others, as of a URL: it would read the lake a b for a%20b.
_TAKEN_FOR_OTHERS = frozenset("%\\")
#: Where DuckDB names a data file, with its table.
_DATA_FILE = re.compile(r"""['"](?P<path>[^'"]*/(?P<table>\w+)/([^/'"]+=[^/'"]*/)*[^/'"]+\.parquet)""")

#: Why a file that is whole can't be read: no file handles left, no right to it, an object store that is away.
_NO_DAMAGE = ("Too many open files", "Permission denied", "onnection", "HTTP")


class DamagedError(AgentmonError):
    """Raised when a data file of the lake can't be read, `path`: it is gone, or not as it was written."""

    def __init__(self, path: str, table: str, reason: str) -> None:
        super().__init__(
            f"a file of the table {table} is damaged or gone, the others are safe: run agentmon doctor ({reason})"
        )
        self.path = path


@cache
def query(name: str) -> str:
    """The text of sql/<name>.sql."""
    return (_SQL / f"{name}.sql").read_text()


def duckdb_uri(uri: str) -> str:
    """A place of the lake as DuckDB wants it: a path, or s3://… where Spark says s3a://…"""
    if is_local(uri):
        return str(local_path(uri))
    return uri.replace("s3a://", "s3://", 1)


@contextmanager
def connect(*, delta: bool = True) -> Iterator[Connection]:
    """DuckDB in memory, in UTC, able to read Delta tables (where `delta`); nothing is looked up on the network.

    Raises DamagedError where a file of a table can't be read.
    """
    with _set_up(delta=delta) as con:
        try:
            yield con
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            found = _DATA_FILE.search(str(error))
            if found is None or found["table"] not in TABLES or any(sign in str(error) for sign in _NO_DAMAGE):
                raise
            raise DamagedError(found["path"], found["table"], first_line(error)[:300]) from error


def _set_up(*, delta: bool) -> Connection:
    con = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            # Checking the signature means hashing the 80 MB of the extension at every start: half of what
            # `status` may take. It comes with our own packages, whose hashes requirements.lock has.
            "allow_unsigned_extensions": True,
        }
    )
    if delta:
        con.execute(f"LOAD {literal(str(_delta_extension()))}")
    # DuckDB's own is .tmp of the working folder, and two processes must not share one.
    con.execute(f"SET temp_directory = {literal(_spill_folder(os.urandom(8).hex()))}")
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")  # it would draw into stdout
    # Where order matters, the queries say it. Keeping that of a thousand small files takes longer than reading them.
    con.execute("SET preserve_insertion_order = false")
    # Most files are read once, so keeping their bytes is 100 MB and a third of the time for nothing.
    con.execute("SET enable_external_file_cache = false")
    # A file's columns with one read, not each page's head and body with one of its own: a quarter less CPU a file.
    con.execute("SET prefetch_all_parquet_files = true")
    # What a file says of itself is kept for the next scan of it: a fifth less CPU for a thousand files.
    con.execute("SET parquet_metadata_cache = true")
    return con


def _spill_folder(one: str) -> str:
    """Where a query of this process puts what memory has no room for. DuckDB makes the folder when it comes to that, and removes it."""
    return f"{os.environ.get('TMPDIR') or '/tmp'}/agentmon-{os.getpid()}-{one}"  # noqa: S108 - nobody can guess it


def remove_spilled() -> None:
    """What queries of this process have put there, for an end that leaves DuckDB no time."""
    import shutil  # 3 ms of every command

    for folder in glob(_spill_folder("*")):  # noqa: PTH207 - of a whole path
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_lake(lake: str, tables: Iterable[str] = TABLES) -> Iterator[Connection]:
    """A connection with a view per existing table, all pinned now; the ledger's is always there.

    Raises NoLakeError where there is no lake yet.
    """
    wanted = {*tables} - {"ledger"}
    with connect() as con:
        source = _attach(con, lake, "ledger")
        if source is None:
            raise no_lake(lake)
        con.execute(f"CREATE VIEW ledger AS FROM {source}")
        if wanted.intersection(SEALED):
            con.execute(query("sealed").format(ledger="ledger"))
        for name in sorted(wanted):
            # A table that a newer version brings is missing until its job has run once.
            if (source := _attach(con, lake, name)) is not None:
                shown = query("sealed_view").format(source=source) if name in SEALED else f"FROM {source}"
                con.execute(f"CREATE VIEW {name} AS {shown}")
        yield con


def no_lake(lake: str) -> NoLakeError:
    return NoLakeError(f"there is no lake at {lake} yet: `agentmon up` starts the job that fills it")


def rows(con: Connection, text: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """All rows of a query, each by column name."""
    found = con.execute(text, parameters or {})
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def literal(text: str) -> str:
    """A text as an SQL literal, where a statement takes no bound values."""
    return "'" + text.replace("'", "''") + "'"


def _attach(con: Connection, lake: str, table: str) -> str | None:
    """Pin a table's newest version as delta_<table>; its rows with today's columns, None where there is no such table."""
    place = f"{duckdb_uri(lake)}/{table}"
    if is_local(lake) and not Path(place, "_delta_log").is_dir():
        return None
    if is_local(lake) and (odd := _TAKEN_FOR_OTHERS.intersection(place)):
        raise AgentmonError(f"DuckDB can't read tables in a folder with {min(odd)} in its path: move or rename {lake}")
    try:
        con.execute(f"ATTACH {literal(place)} AS delta_{table} (TYPE delta, PIN_SNAPSHOT, READ_ONLY)")
        # This takes the snapshot now, not at the first query.
        there = {name for name, *_ in con.execute(f"DESCRIBE delta_{table}").fetchall()}
    except duckdb.Error as error:
        if any(sign in str(error) for sign in _NO_TABLE):
            con.execute(f"DETACH DATABASE IF EXISTS delta_{table}")
            return None
        raise AgentmonError(f"can't read {place}: {first_line(error)[:300]}") from error
    # What a newer version brings is null until its job has run once.
    later = [f', NULL::{duckdb_type(c.type)} AS "{c.name}"' for c in TABLES[table].columns if c.name not in there]
    return f"(SELECT *{''.join(later)} FROM delta_{table})" if later else f"delta_{table}"


@cache
def _delta_extension() -> Path:
    spec = find_spec("duckdb_extension_delta")
    folders = spec.submodule_search_locations if spec else None
    found = sorted(Path(folders[0]).rglob("*.duckdb_extension")) if folders else []
    if not found:
        raise AgentmonError("the package duckdb-extension-delta is missing: `make setup` installs it")
    return found[-1]
