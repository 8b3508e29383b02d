"""How the lake is: files of a day, messages that could not be read, producers whose clocks are off."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from agentmon.contracts.tables import TABLES
from agentmon.errors import AgentmonError
from agentmon.lake.connection import connect, duckdb_uri, query
from agentmon.lake.files import commits_since_checkpoint, is_local
from agentmon.lake.reading import again, reading
from agentmon.lake.snapshot import read_snapshot

#: What a Parquet file ends with.
_MARK = b"PAR1"


@dataclass(frozen=True)
class Health:
    """files: per table the day with the most files, and how many; clamped: (agent, actions with an absurd time).

    commits: per table how many commits its log has had since its last checkpoint, where the lake is a folder.
    """

    files: dict[str, tuple[date, int]]
    commits: dict[str, int]
    last_commit: datetime | None
    clamped: list[tuple[str, int]]
    quarantined: int


@again
def read_health(lake: str, since: datetime) -> Health:
    """Files of every day; messages since then. Raises NoLakeError where there is no lake."""
    with reading(lake, *(set(TABLES) - {"ledger"})) as con:
        there = {name for (name,) in con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
        files: dict[str, tuple[date, int]] = {}
        for table in sorted(there & set(TABLES)):
            found = con.execute(query("most_files"), {"path": f"{duckdb_uri(lake)}/{table}"}).fetchone()
            if found:
                files[table] = (found[0], found[1])
        clamped = con.execute(query("clamped"), {"since": since}).fetchall()
        (quarantined,) = con.execute(query("quarantined"), {"since": since}).fetchone() or (0,)
        (last,) = con.execute("SELECT max(committed_at) FROM ledger").fetchone() or (None,)
        commits = {table: commits_since_checkpoint(f"{lake}/{table}") for table in files} if is_local(lake) else {}
        return Health(files, commits, last, [(agent, count) for agent, count in clamped], int(quarantined))


def damaged_files(lake: str) -> list[str]:
    """Data files of the newest versions that are gone or have not the end of a whole file; local lakes only."""
    found: list[str] = []
    if not is_local(lake):
        return found
    with connect(delta=False) as con:
        for table in TABLES:
            try:
                files = read_snapshot(con, lake, table) or []
            except AgentmonError:  # `read_health` says so, if its log is what is damaged
                continue
            found += [file.path for file in files if not _is_whole(Path(file.path))]
    return found


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(_MARK), os.SEEK_END)
            return file.read() == _MARK
    except OSError:
        return False
