"""Plain files beside the tables, wherever the lake lies: a path, or s3a://…, gs://…, hdfs://…"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def is_local(uri: str) -> bool:
    """Whether a place is a folder of this machine."""
    return "://" not in uri or uri.startswith("file:")


def local_path(uri: str) -> Path:
    """The folder that a local place names."""
    return Path(uri.removeprefix("file://").removeprefix("file:"))


def newest_commits(table_uri: str) -> Iterator[dict[str, Any]]:
    """The commitInfo of a Delta table's commits, newest first, as far as its log goes; nothing where there is no table.

    Source: the Delta transaction log protocol: _delta_log/<version, 20 digits>.json, an action a line.
    """
    from pyarrow import fs

    filesystem, path = _filesystem(f"{table_uri}/_delta_log")
    listing = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    names = sorted(
        (i.path for i in listing if i.base_name.endswith(".json") and i.base_name[:20].isdigit()), reverse=True
    )
    for name in names:
        with filesystem.open_input_stream(name) as stream:
            for line in stream.read().decode().splitlines():
                if '"commitInfo"' in line:
                    yield json.loads(line)["commitInfo"]


def remove_folders(uri: str, beginnings: tuple[str, ...]) -> None:
    """Delete the folders below a place whose names begin so, with all that is in them."""
    from pyarrow import fs

    filesystem, path = _filesystem(uri)
    for entry in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)):
        if entry.type == fs.FileType.Directory and entry.base_name.startswith(beginnings):
            filesystem.delete_dir(entry.path)


def _filesystem(uri: str) -> tuple[Any, str]:
    """pyarrow's file system for a place, and its path there."""
    from pyarrow import fs

    if is_local(uri):
        return fs.LocalFileSystem(), str(local_path(uri))
    filesystem, path = fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
    return filesystem, path


def commits_since_checkpoint(table_uri: str) -> int:
    """How many commits a reader has to replay on top of the newest checkpoint of a Delta table's log. Local only."""
    log = local_path(f"{table_uri}/_delta_log")
    versions = [int(path.stem) for path in log.glob("*.json") if path.stem.isdigit()]
    try:
        checkpoint = int(json.loads((log / "_last_checkpoint").read_text())["version"])
    except (OSError, ValueError, KeyError):
        checkpoint = -1
    return sum(version > checkpoint for version in versions)
