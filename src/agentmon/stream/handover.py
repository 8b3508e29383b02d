"""What two processes tell each other over a socket, and tables, which are handed over in memory that both see.

A pipe would copy each row twice, and who writes would wait for who reads. The sender writes an Arrow stream for each
table into a file without a name, in memory where the system has such, and passes the open file on; it is gone with the last
who looks at it.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import pyarrow as pa

_HEAD = struct.Struct("=I")  # bytes of what is told


def send(channel: socket.socket, what: Any, tables: Sequence[pa.Table] = ()) -> None:
    """Raises BrokenPipeError or ConnectionResetError where nobody is there any more."""
    told = pickle.dumps(what)
    head = _HEAD.pack(len(told))
    if not tables:
        channel.sendall(head + told)
        return
    with _unnamed_file() as file:
        for table in tables:
            with pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(table)
        socket.send_fds(channel, [head], [file.fileno()])
    channel.sendall(told)


def receive(channel: socket.socket) -> tuple[Any, list[pa.Table]]:
    """What `send` was called with; waits for it. To be used between a process and one that it started: it unpickles.

    Raises EOFError where the other side is gone, or sends no more.
    """
    try:
        head, files, _, _ = socket.recv_fds(channel, _HEAD.size, 1)
        try:
            (size,) = _HEAD.unpack(_whole(channel, _HEAD.size, head))
            what = pickle.loads(_whole(channel, size))  # noqa: S301 - see above
            return what, [table for file in files for table in _tables(file)]
        finally:
            for file in files:
                os.close(file)
    except ConnectionResetError:
        raise EOFError from None


def _unnamed_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("agentmon"), "wb", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _whole(channel: socket.socket, size: int, came: bytes = b"") -> bytes:
    while len(came) < size:
        more = channel.recv(size - len(came))
        if not more:
            raise EOFError
        came += more
    return came


def _tables(file: int) -> list[pa.Table]:
    """They are not copied: the memory is let go with the last of their columns."""
    source = pa.BufferReader(pa.py_buffer(mmap.mmap(file, 0, prot=mmap.PROT_READ)))
    found = []
    while source.tell() < source.size():
        with pa.ipc.open_stream(source) as stream:
            found.append(stream.read_all())
    return found
