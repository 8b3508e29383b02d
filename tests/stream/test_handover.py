"""What two processes tell each other, and the tables that they hand over."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from threading import Thread

import psutil
import pyarrow as pa
import pytest

from agentmon.stream.handover import receive, send

TABLES = [
    pa.table({"a": [1, None, 3], "b": ["x", "", "z" * 3_000_000]}),
    pa.table({"c": pa.array([], pa.list_(pa.float64()))}),
    pa.concat_tables([pa.table({"d": [0.5]}), pa.table({"d": [1.5]})]),
]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_tables_arrive_and_leave_nothing_open(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, has_memory_files: bool
) -> None:
    if not has_memory_files:  # as on macOS
        monkeypatch.delattr(os, "memfd_create")
    before = psutil.Process().num_fds()
    send(ends[0], {"number": 1}, TABLES)
    send(ends[0], "nothing more")
    told, tables = receive(ends[1])
    assert told == {"number": 1}
    assert tables == TABLES
    assert receive(ends[1]) == ("nothing more", [])
    del tables
    assert psutil.Process().num_fds() == before


def test_what_is_longer_than_a_socket_holds(ends: tuple[socket.socket, socket.socket]) -> None:
    text = "x" * 5_000_000
    sender = Thread(target=send, args=(ends[0], text))
    sender.start()
    assert receive(ends[1]) == (text, [])
    sender.join()


@pytest.mark.parametrize("said", [b"", b"\x09\x00", b"\x09\x00\x00\x00half"])
def test_who_is_gone_is_noticed(ends: tuple[socket.socket, socket.socket], said: bytes) -> None:
    ends[0].sendall(said)
    ends[0].close()
    with pytest.raises(EOFError):
        receive(ends[1])
    with pytest.raises(BrokenPipeError):
        send(ends[1], 1)


def test_a_full_disk_says_so(ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files without a name lie on one."""
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))  # noqa: SIM115, PTH123
    with pytest.raises(OSError, match="No space left"):
        send(ends[0], 1, TABLES)
